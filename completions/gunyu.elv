
use builtin;
use str;

set edit:completion:arg-completer[gunyu] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'gunyu'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'gunyu'= {
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand sync 'Run the daemon: follow the source, and keep the target its copy'
            cand status 'Show how far a running daemon is'
            cand doctor 'Say what would go wrong between source and target, before it does'
            cand fullsync 'Copy everything anew: a one-shot migration, or a forced full sync by a running daemon'
            cand rdb-dump 'Write a snapshot to an RDB file: a running server''s own, or a daemon''s newest'
            cand rdb-load 'Load an RDB file into a running server'
            cand rdb-print 'Print what is in an RDB file, one JSON object a line'
            cand rdb-stats 'Show what takes the room in an RDB file'
            cand verify 'Compare source and target, while a daemon syncs them or not'
            cand pause 'Stop replaying some inputs; what their sources send is still received and kept'
            cand resume 'Go on replaying paused inputs'
            cand restart 'Let every input begin anew from its checkpoint'
            cand handover 'Hand leadership of some inputs over to another node'
            cand gc 'Remove logs and checkpoints of inputs that are not configured any more'
            cand config 'Show the effective configuration, without secrets'
            cand stop 'Stop a running daemon'
            cand completions 'Print the completions for a shell'
            cand man 'Print the manual page, or write all of them into a folder'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'gunyu;sync'= {
            cand -c 'Configuration file (YAML)'
            cand --config 'Configuration file (YAML)'
            cand --source 'Source, as redis://[user[:password]@]host:port, rediss://… for TLS, redis+cluster://host:port,host:port or redis+sentinel://host:port,…/mastername; with /db only that database is copied'
            cand --target 'Target, in the same forms; with /db all databases go into that one'
            cand --set 'Set any key of the configuration by its dotted path; may be repeated'
            cand -q 'Draw no progress on the terminal'
            cand --quiet 'Draw no progress on the terminal'
            cand --adopt-redis-gunyu-checkpoint 'Go on from the checkpoint that redis-GunYu has left on the target, without a full sync; refused where it does not fit'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'gunyu;status'= {
            cand --server 'The daemon''s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]'
            cand --token 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]'
            cand --ca-cert 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]'
            cand -c 'The daemon''s configuration file, to find its address, token and certificate'
            cand --config 'The daemon''s configuration file, to find its address, token and certificate'
            cand --source 'Source, as gunyu sync has it'
            cand --target 'Target, as gunyu sync has it'
            cand --set 'Set any key of the configuration by its dotted path; may be repeated'
            cand --json 'Print the daemon''s JSON as it is'
            cand -w 'Redraw every second until interrupted'
            cand --watch 'Redraw every second until interrupted'
            cand --wait 'Return when every input is live, or one has stopped (exit code 1); a daemon that does not answer is waited for half a minute'
            cand --local 'Ask source and target of --config (or of --source and --target) instead of a daemon'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'gunyu;doctor'= {
            cand -c 'Configuration file (YAML)'
            cand --config 'Configuration file (YAML)'
            cand --source 'Source, as redis://[user[:password]@]host:port, rediss://… for TLS, redis+cluster://host:port,host:port or redis+sentinel://host:port,…/mastername; with /db only that database is copied'
            cand --target 'Target, in the same forms; with /db all databases go into that one'
            cand --set 'Set any key of the configuration by its dotted path; may be repeated'
            cand --outage 'So long the source may be out of reach without a full sync afterwards: its backlog should last'
            cand --json 'Print the findings as JSON'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'gunyu;fullsync'= {
            cand --server 'The daemon''s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]'
            cand --token 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]'
            cand --ca-cert 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]'
            cand -c 'The daemon''s configuration file, to find its address, token and certificate'
            cand --config 'The daemon''s configuration file, to find its address, token and certificate'
            cand --source 'Source to copy here, as redis://[user[:password]@]host:port, rediss://… for TLS, redis+cluster://host:port,host:port or redis+sentinel://host:port,…/mastername; with /db only that database is copied'
            cand --target 'Target to copy to here, in the same forms; with /db all databases go into that one'
            cand --set 'Set any key of the configuration by its dotted path, for a copy made here; may be repeated'
            cand --inputs 'What the daemon is to copy: `all`, or source addresses (host:port) between commas'
            cand --flush-command 'What FLUSHDB is called on the target, where it was renamed'
            cand --patience 'Give up when nothing has moved for so long'
            cand --local 'Run here, with --config, instead of asking a daemon'
            cand --flushdb 'Empty the target''s databases that are fed, first'
            cand --wait 'Follow the daemon''s progress until the stream is live'
            cand --snapshot-only 'End after the snapshot, and leave nothing of gunyu''s on the target'
            cand --json 'Print the outcome as JSON; draw no progress'
            cand -q 'Draw no progress'
            cand --quiet 'Draw no progress'
            cand -v 'Trace on stderr what is going on, as log.level says'
            cand --verbose 'Trace on stderr what is going on, as log.level says'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'gunyu;rdb-dump'= {
            cand --server 'The daemon''s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]'
            cand --token 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]'
            cand --ca-cert 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]'
            cand -c 'The daemon''s configuration file, to find its address, token and certificate'
            cand --config 'The daemon''s configuration file, to find its address, token and certificate'
            cand --source 'The server to take it of here, as redis://[user[:password]@]host:port, or redis+cluster://host:port,host:port'
            cand --set 'Set any key of the configuration by its dotted path, for a snapshot taken here; may be repeated'
            cand --input 'The daemon''s input, by its source address (host:port); may be left out where there is only one'
            cand -o 'The file to write, or - for stdout'
            cand --output 'The file to write, or - for stdout'
            cand --patience 'Give up when nothing has come of the server for so long'
            cand --local 'Take the snapshot here, of input.redis in --config, instead of asking a daemon'
            cand --json 'Print the outcome as JSON; draw no progress'
            cand -q 'Draw no progress'
            cand --quiet 'Draw no progress'
            cand -v 'Trace on stderr what is going on, as log.level says'
            cand --verbose 'Trace on stderr what is going on, as log.level says'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'gunyu;rdb-load'= {
            cand --target 'Target, as redis://[user[:password]@]host:port[/db], or redis+cluster://host:port,host:port; with /db all keys go into that database'
            cand -c 'Configuration file (YAML), of which output counts'
            cand --config 'Configuration file (YAML), of which output counts'
            cand --set 'Set any key of the configuration by its dotted path; may be repeated'
            cand -j 'Connections to the target; output.replay.connections otherwise'
            cand --jobs 'Connections to the target; output.replay.connections otherwise'
            cand --json 'Print the outcome as JSON; draw no progress'
            cand -q 'Draw no progress'
            cand --quiet 'Draw no progress'
            cand -v 'Trace on stderr what is going on, as log.level says'
            cand --verbose 'Trace on stderr what is going on, as log.level says'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'gunyu;rdb-print'= {
            cand --match 'Only keys that match a pattern, as KEYS knows them'
            cand --db 'Only keys of this database; may be repeated'
            cand --type 'Only this type; may be repeated'
            cand -o 'Write to a file, which appears whole or not at all'
            cand --output 'Write to a file, which appears whole or not at all'
            cand --no-value 'Leave out what keys, modules and functions hold'
            cand --json 'For symmetry with other commands: it is JSON anyway'
            cand -q 'Draw no progress'
            cand --quiet 'Draw no progress'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'gunyu;rdb-stats'= {
            cand --top 'How many keys and prefixes to list'
            cand --prefix-separator 'Characters that end a prefix'
            cand --json 'Print the figures as JSON; draw no progress'
            cand -q 'Draw no progress'
            cand --quiet 'Draw no progress'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'gunyu;verify'= {
            cand -c 'Configuration file (YAML)'
            cand --config 'Configuration file (YAML)'
            cand --source 'Source, as redis://[user[:password]@]host:port, rediss://… for TLS, redis+cluster://host:port,host:port or redis+sentinel://host:port,…/mastername; with /db only that database is copied'
            cand --target 'Target, in the same forms; with /db all databases go into that one'
            cand --set 'Set any key of the configuration by its dotted path; may be repeated'
            cand --compare 'How much is compared; each includes those before it'
            cand --ttl-tolerance 'Times of expiry that are no farther apart are the same'
            cand --sample 'Only this part of the keys, chosen by their names: the same on both sides'
            cand --match 'Only keys like this, as SCAN MATCH has it'
            cand --rate 'At most so many keys a second'
            cand --rounds 'Look at what differs so often again at most'
            cand --patience 'Take a checkpoint that does not move for so long for one that nobody writes'
            cand --differences 'Write the keys that differ to this file, a JSON object a line'
            cand --repair 'Copy what differs anew from the source, while the stream goes on, and look at it again; keys that the source does not have are removed where output.replay.staleKeys has a full sync delete them: if it is auto, in databases that were empty at the first sync, and if no other sync uses the target'
            cand --dry-run 'With --repair: only say what would be done'
            cand --json 'Print the outcome as JSON; draw no progress'
            cand -q 'Draw no progress'
            cand --quiet 'Draw no progress'
            cand -v 'Trace on stderr what is going on, as log.level says'
            cand --verbose 'Trace on stderr what is going on, as log.level says'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'gunyu;pause'= {
            cand --inputs '`all`, or source addresses (host:port) between commas, as `gunyu status` shows them'
            cand --server 'The daemon''s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]'
            cand --token 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]'
            cand --ca-cert 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]'
            cand -c 'The daemon''s configuration file, to find its address, token and certificate'
            cand --config 'The daemon''s configuration file, to find its address, token and certificate'
            cand --json 'Print the daemon''s answer as JSON'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'gunyu;resume'= {
            cand --inputs '`all`, or source addresses (host:port) between commas, as `gunyu status` shows them'
            cand --server 'The daemon''s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]'
            cand --token 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]'
            cand --ca-cert 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]'
            cand -c 'The daemon''s configuration file, to find its address, token and certificate'
            cand --config 'The daemon''s configuration file, to find its address, token and certificate'
            cand --json 'Print the daemon''s answer as JSON'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'gunyu;restart'= {
            cand --server 'The daemon''s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]'
            cand --token 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]'
            cand --ca-cert 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]'
            cand -c 'The daemon''s configuration file, to find its address, token and certificate'
            cand --config 'The daemon''s configuration file, to find its address, token and certificate'
            cand --json 'Print the daemon''s answer as JSON'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'gunyu;handover'= {
            cand --inputs '`all`, or source addresses (host:port) between commas, as `gunyu status` shows them'
            cand --server 'The daemon''s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]'
            cand --token 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]'
            cand --ca-cert 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]'
            cand -c 'The daemon''s configuration file, to find its address, token and certificate'
            cand --config 'The daemon''s configuration file, to find its address, token and certificate'
            cand --to 'The member that is to lead, as gunyu status shows it [default: the one whose log reaches furthest]'
            cand --json 'Print the daemon''s answer as JSON'
            cand --wait 'Return when another node leads'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'gunyu;gc'= {
            cand --server 'The daemon''s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]'
            cand --token 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]'
            cand --ca-cert 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]'
            cand -c 'The daemon''s configuration file, to find its address, token and certificate'
            cand --config 'The daemon''s configuration file, to find its address, token and certificate'
            cand --json 'Print the daemon''s answer as JSON'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'gunyu;config'= {
            cand --server 'The daemon''s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]'
            cand --token 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]'
            cand --ca-cert 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]'
            cand -c 'The daemon''s configuration file, to find its address, token and certificate'
            cand --config 'The daemon''s configuration file, to find its address, token and certificate'
            cand --source 'Source, as gunyu sync has it'
            cand --target 'Target, as gunyu sync has it'
            cand --set 'Set any key of the configuration by its dotted path; may be repeated'
            cand --json 'Print the daemon''s answer as JSON'
            cand --local 'Show what --config (or --source and --target) means, without a daemon'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'gunyu;stop'= {
            cand --server 'The daemon''s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]'
            cand --token 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]'
            cand --ca-cert 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]'
            cand -c 'The daemon''s configuration file, to find its address, token and certificate'
            cand --config 'The daemon''s configuration file, to find its address, token and certificate'
            cand --json 'Print the daemon''s answer as JSON'
            cand --wait 'Return when the daemon has ended'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'gunyu;completions'= {
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'gunyu;man'= {
            cand --dir 'Write gunyu.1 and a page for each command into this folder, which is made where it is missing'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'gunyu;help'= {
            cand sync 'Run the daemon: follow the source, and keep the target its copy'
            cand status 'Show how far a running daemon is'
            cand doctor 'Say what would go wrong between source and target, before it does'
            cand fullsync 'Copy everything anew: a one-shot migration, or a forced full sync by a running daemon'
            cand rdb-dump 'Write a snapshot to an RDB file: a running server''s own, or a daemon''s newest'
            cand rdb-load 'Load an RDB file into a running server'
            cand rdb-print 'Print what is in an RDB file, one JSON object a line'
            cand rdb-stats 'Show what takes the room in an RDB file'
            cand verify 'Compare source and target, while a daemon syncs them or not'
            cand pause 'Stop replaying some inputs; what their sources send is still received and kept'
            cand resume 'Go on replaying paused inputs'
            cand restart 'Let every input begin anew from its checkpoint'
            cand handover 'Hand leadership of some inputs over to another node'
            cand gc 'Remove logs and checkpoints of inputs that are not configured any more'
            cand config 'Show the effective configuration, without secrets'
            cand stop 'Stop a running daemon'
            cand completions 'Print the completions for a shell'
            cand man 'Print the manual page, or write all of them into a folder'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'gunyu;help;sync'= {
        }
        &'gunyu;help;status'= {
        }
        &'gunyu;help;doctor'= {
        }
        &'gunyu;help;fullsync'= {
        }
        &'gunyu;help;rdb-dump'= {
        }
        &'gunyu;help;rdb-load'= {
        }
        &'gunyu;help;rdb-print'= {
        }
        &'gunyu;help;rdb-stats'= {
        }
        &'gunyu;help;verify'= {
        }
        &'gunyu;help;pause'= {
        }
        &'gunyu;help;resume'= {
        }
        &'gunyu;help;restart'= {
        }
        &'gunyu;help;handover'= {
        }
        &'gunyu;help;gc'= {
        }
        &'gunyu;help;config'= {
        }
        &'gunyu;help;stop'= {
        }
        &'gunyu;help;completions'= {
        }
        &'gunyu;help;man'= {
        }
        &'gunyu;help;help'= {
        }
    ]
    $completions[$command]
}
