# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_gunyu_global_optspecs
    string join \n h/help V/version
end

function __fish_gunyu_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_gunyu_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_gunyu_using_subcommand
    set -l cmd (__fish_gunyu_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c gunyu -n "__fish_gunyu_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gunyu -n "__fish_gunyu_needs_command" -s V -l version -d 'Print version'
complete -c gunyu -n "__fish_gunyu_needs_command" -f -a "sync" -d 'Run the daemon: follow the source, and keep the target its copy'
complete -c gunyu -n "__fish_gunyu_needs_command" -f -a "status" -d 'Show how far a running daemon is'
complete -c gunyu -n "__fish_gunyu_needs_command" -f -a "doctor" -d 'Say what would go wrong between source and target, before it does'
complete -c gunyu -n "__fish_gunyu_needs_command" -f -a "fullsync" -d 'Copy everything anew: a one-shot migration, or a forced full sync by a running daemon'
complete -c gunyu -n "__fish_gunyu_needs_command" -f -a "rdb-dump" -d 'Write a snapshot to an RDB file: a running server\'s own, or a daemon\'s newest'
complete -c gunyu -n "__fish_gunyu_needs_command" -f -a "rdb-load" -d 'Load an RDB file into a running server'
complete -c gunyu -n "__fish_gunyu_needs_command" -f -a "rdb-print" -d 'Print what is in an RDB file, one JSON object a line'
complete -c gunyu -n "__fish_gunyu_needs_command" -f -a "rdb-stats" -d 'Show what takes the room in an RDB file'
complete -c gunyu -n "__fish_gunyu_needs_command" -f -a "verify" -d 'Compare source and target, while a daemon syncs them or not'
complete -c gunyu -n "__fish_gunyu_needs_command" -f -a "pause" -d 'Stop replaying some inputs; what their sources send is still received and kept'
complete -c gunyu -n "__fish_gunyu_needs_command" -f -a "resume" -d 'Go on replaying paused inputs'
complete -c gunyu -n "__fish_gunyu_needs_command" -f -a "restart" -d 'Let every input begin anew from its checkpoint'
complete -c gunyu -n "__fish_gunyu_needs_command" -f -a "handover" -d 'Hand leadership of some inputs over to another node'
complete -c gunyu -n "__fish_gunyu_needs_command" -f -a "gc" -d 'Remove logs and checkpoints of inputs that are not configured any more'
complete -c gunyu -n "__fish_gunyu_needs_command" -f -a "config" -d 'Show the effective configuration, without secrets'
complete -c gunyu -n "__fish_gunyu_needs_command" -f -a "stop" -d 'Stop a running daemon'
complete -c gunyu -n "__fish_gunyu_needs_command" -f -a "completions" -d 'Print the completions for a shell'
complete -c gunyu -n "__fish_gunyu_needs_command" -f -a "man" -d 'Print the manual page, or write all of them into a folder'
complete -c gunyu -n "__fish_gunyu_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c gunyu -n "__fish_gunyu_using_subcommand sync" -s c -l config -d 'Configuration file (YAML)' -r -F
complete -c gunyu -n "__fish_gunyu_using_subcommand sync" -l source -d 'Source, as redis://[user[:password]@]host:port, rediss://… for TLS, redis+cluster://host:port,host:port or redis+sentinel://host:port,…/mastername; with /db only that database is copied' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand sync" -l target -d 'Target, in the same forms; with /db all databases go into that one' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand sync" -l set -d 'Set any key of the configuration by its dotted path; may be repeated' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand sync" -s q -l quiet -d 'Draw no progress on the terminal'
complete -c gunyu -n "__fish_gunyu_using_subcommand sync" -l adopt-redis-gunyu-checkpoint -d 'Go on from the checkpoint that redis-GunYu has left on the target, without a full sync; refused where it does not fit'
complete -c gunyu -n "__fish_gunyu_using_subcommand sync" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gunyu -n "__fish_gunyu_using_subcommand sync" -s V -l version -d 'Print version'
complete -c gunyu -n "__fish_gunyu_using_subcommand status" -l server -d 'The daemon\'s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand status" -l token -d 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand status" -l ca-cert -d 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]' -r -F
complete -c gunyu -n "__fish_gunyu_using_subcommand status" -s c -l config -d 'The daemon\'s configuration file, to find its address, token and certificate' -r -F
complete -c gunyu -n "__fish_gunyu_using_subcommand status" -l source -d 'Source, as gunyu sync has it' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand status" -l target -d 'Target, as gunyu sync has it' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand status" -l set -d 'Set any key of the configuration by its dotted path; may be repeated' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand status" -l json -d 'Print the daemon\'s JSON as it is'
complete -c gunyu -n "__fish_gunyu_using_subcommand status" -s w -l watch -d 'Redraw every second until interrupted'
complete -c gunyu -n "__fish_gunyu_using_subcommand status" -l wait -d 'Return when every input is live, or one has stopped (exit code 1); a daemon that does not answer is waited for half a minute'
complete -c gunyu -n "__fish_gunyu_using_subcommand status" -l local -d 'Ask source and target of --config (or of --source and --target) instead of a daemon'
complete -c gunyu -n "__fish_gunyu_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gunyu -n "__fish_gunyu_using_subcommand status" -s V -l version -d 'Print version'
complete -c gunyu -n "__fish_gunyu_using_subcommand doctor" -s c -l config -d 'Configuration file (YAML)' -r -F
complete -c gunyu -n "__fish_gunyu_using_subcommand doctor" -l source -d 'Source, as redis://[user[:password]@]host:port, rediss://… for TLS, redis+cluster://host:port,host:port or redis+sentinel://host:port,…/mastername; with /db only that database is copied' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand doctor" -l target -d 'Target, in the same forms; with /db all databases go into that one' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand doctor" -l set -d 'Set any key of the configuration by its dotted path; may be repeated' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand doctor" -l outage -d 'So long the source may be out of reach without a full sync afterwards: its backlog should last' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand doctor" -l json -d 'Print the findings as JSON'
complete -c gunyu -n "__fish_gunyu_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gunyu -n "__fish_gunyu_using_subcommand doctor" -s V -l version -d 'Print version'
complete -c gunyu -n "__fish_gunyu_using_subcommand fullsync" -l server -d 'The daemon\'s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand fullsync" -l token -d 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand fullsync" -l ca-cert -d 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]' -r -F
complete -c gunyu -n "__fish_gunyu_using_subcommand fullsync" -s c -l config -d 'The daemon\'s configuration file, to find its address, token and certificate' -r -F
complete -c gunyu -n "__fish_gunyu_using_subcommand fullsync" -l source -d 'Source to copy here, as redis://[user[:password]@]host:port, rediss://… for TLS, redis+cluster://host:port,host:port or redis+sentinel://host:port,…/mastername; with /db only that database is copied' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand fullsync" -l target -d 'Target to copy to here, in the same forms; with /db all databases go into that one' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand fullsync" -l set -d 'Set any key of the configuration by its dotted path, for a copy made here; may be repeated' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand fullsync" -l inputs -d 'What the daemon is to copy: `all`, or source addresses (host:port) between commas' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand fullsync" -l flush-command -d 'What FLUSHDB is called on the target, where it was renamed' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand fullsync" -l patience -d 'Give up when nothing has moved for so long' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand fullsync" -l local -d 'Run here, with --config, instead of asking a daemon'
complete -c gunyu -n "__fish_gunyu_using_subcommand fullsync" -l flushdb -d 'Empty the target\'s databases that are fed, first'
complete -c gunyu -n "__fish_gunyu_using_subcommand fullsync" -l wait -d 'Follow the daemon\'s progress until the stream is live'
complete -c gunyu -n "__fish_gunyu_using_subcommand fullsync" -l snapshot-only -d 'End after the snapshot, and leave nothing of gunyu\'s on the target'
complete -c gunyu -n "__fish_gunyu_using_subcommand fullsync" -l json -d 'Print the outcome as JSON; draw no progress'
complete -c gunyu -n "__fish_gunyu_using_subcommand fullsync" -s q -l quiet -d 'Draw no progress'
complete -c gunyu -n "__fish_gunyu_using_subcommand fullsync" -s v -l verbose -d 'Trace on stderr what is going on, as log.level says'
complete -c gunyu -n "__fish_gunyu_using_subcommand fullsync" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gunyu -n "__fish_gunyu_using_subcommand fullsync" -s V -l version -d 'Print version'
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-dump" -l server -d 'The daemon\'s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-dump" -l token -d 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-dump" -l ca-cert -d 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]' -r -F
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-dump" -s c -l config -d 'The daemon\'s configuration file, to find its address, token and certificate' -r -F
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-dump" -l source -d 'The server to take it of here, as redis://[user[:password]@]host:port, or redis+cluster://host:port,host:port' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-dump" -l set -d 'Set any key of the configuration by its dotted path, for a snapshot taken here; may be repeated' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-dump" -l input -d 'The daemon\'s input, by its source address (host:port); may be left out where there is only one' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-dump" -s o -l output -d 'The file to write, or - for stdout' -r -F
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-dump" -l patience -d 'Give up when nothing has come of the server for so long' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-dump" -l local -d 'Take the snapshot here, of input.redis in --config, instead of asking a daemon'
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-dump" -l json -d 'Print the outcome as JSON; draw no progress'
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-dump" -s q -l quiet -d 'Draw no progress'
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-dump" -s v -l verbose -d 'Trace on stderr what is going on, as log.level says'
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-dump" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-dump" -s V -l version -d 'Print version'
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-load" -l target -d 'Target, as redis://[user[:password]@]host:port[/db], or redis+cluster://host:port,host:port; with /db all keys go into that database' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-load" -s c -l config -d 'Configuration file (YAML), of which output counts' -r -F
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-load" -l set -d 'Set any key of the configuration by its dotted path; may be repeated' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-load" -s j -l jobs -d 'Connections to the target; output.replay.connections otherwise' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-load" -l json -d 'Print the outcome as JSON; draw no progress'
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-load" -s q -l quiet -d 'Draw no progress'
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-load" -s v -l verbose -d 'Trace on stderr what is going on, as log.level says'
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-load" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-load" -s V -l version -d 'Print version'
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-print" -l match -d 'Only keys that match a pattern, as KEYS knows them' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-print" -l db -d 'Only keys of this database; may be repeated' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-print" -l type -d 'Only this type; may be repeated' -r -f -a "string\t'A string'
list\t'A list'
set\t'A set'
zset\t'A sorted set'
hash\t'A hash'
stream\t'A stream'
module\t'A module\'s value'
aux\t'A field about the file'
function\t'A library of functions'
module_aux\t'What a module keeps beside the keys'"
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-print" -s o -l output -d 'Write to a file, which appears whole or not at all' -r -F
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-print" -l no-value -d 'Leave out what keys, modules and functions hold'
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-print" -l json -d 'For symmetry with other commands: it is JSON anyway'
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-print" -s q -l quiet -d 'Draw no progress'
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-print" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-print" -s V -l version -d 'Print version'
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-stats" -l top -d 'How many keys and prefixes to list' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-stats" -l prefix-separator -d 'Characters that end a prefix' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-stats" -l json -d 'Print the figures as JSON; draw no progress'
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-stats" -s q -l quiet -d 'Draw no progress'
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-stats" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gunyu -n "__fish_gunyu_using_subcommand rdb-stats" -s V -l version -d 'Print version'
complete -c gunyu -n "__fish_gunyu_using_subcommand verify" -s c -l config -d 'Configuration file (YAML)' -r -F
complete -c gunyu -n "__fish_gunyu_using_subcommand verify" -l source -d 'Source, as redis://[user[:password]@]host:port, rediss://… for TLS, redis+cluster://host:port,host:port or redis+sentinel://host:port,…/mastername; with /db only that database is copied' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand verify" -l target -d 'Target, in the same forms; with /db all databases go into that one' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand verify" -l set -d 'Set any key of the configuration by its dotted path; may be repeated' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand verify" -l compare -d 'How much is compared; each includes those before it' -r -f -a "existence\t'Whether each key is there'
type\t'Its type and its expiry as well'
length\t'The length of its value as well'
value\t'The value itself as well'"
complete -c gunyu -n "__fish_gunyu_using_subcommand verify" -l ttl-tolerance -d 'Times of expiry that are no farther apart are the same' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand verify" -l sample -d 'Only this part of the keys, chosen by their names: the same on both sides' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand verify" -l match -d 'Only keys like this, as SCAN MATCH has it' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand verify" -l rate -d 'At most so many keys a second' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand verify" -l rounds -d 'Look at what differs so often again at most' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand verify" -l patience -d 'Take a checkpoint that does not move for so long for one that nobody writes' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand verify" -l differences -d 'Write the keys that differ to this file, a JSON object a line' -r -F
complete -c gunyu -n "__fish_gunyu_using_subcommand verify" -l repair -d 'Copy what differs anew from the source, while the stream goes on, and look at it again; keys that the source does not have are removed where output.replay.staleKeys has a full sync delete them: if it is auto, in databases that were empty at the first sync, and if no other sync uses the target'
complete -c gunyu -n "__fish_gunyu_using_subcommand verify" -l dry-run -d 'With --repair: only say what would be done'
complete -c gunyu -n "__fish_gunyu_using_subcommand verify" -l json -d 'Print the outcome as JSON; draw no progress'
complete -c gunyu -n "__fish_gunyu_using_subcommand verify" -s q -l quiet -d 'Draw no progress'
complete -c gunyu -n "__fish_gunyu_using_subcommand verify" -s v -l verbose -d 'Trace on stderr what is going on, as log.level says'
complete -c gunyu -n "__fish_gunyu_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gunyu -n "__fish_gunyu_using_subcommand verify" -s V -l version -d 'Print version'
complete -c gunyu -n "__fish_gunyu_using_subcommand pause" -l inputs -d '`all`, or source addresses (host:port) between commas, as `gunyu status` shows them' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand pause" -l server -d 'The daemon\'s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand pause" -l token -d 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand pause" -l ca-cert -d 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]' -r -F
complete -c gunyu -n "__fish_gunyu_using_subcommand pause" -s c -l config -d 'The daemon\'s configuration file, to find its address, token and certificate' -r -F
complete -c gunyu -n "__fish_gunyu_using_subcommand pause" -l json -d 'Print the daemon\'s answer as JSON'
complete -c gunyu -n "__fish_gunyu_using_subcommand pause" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gunyu -n "__fish_gunyu_using_subcommand pause" -s V -l version -d 'Print version'
complete -c gunyu -n "__fish_gunyu_using_subcommand resume" -l inputs -d '`all`, or source addresses (host:port) between commas, as `gunyu status` shows them' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand resume" -l server -d 'The daemon\'s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand resume" -l token -d 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand resume" -l ca-cert -d 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]' -r -F
complete -c gunyu -n "__fish_gunyu_using_subcommand resume" -s c -l config -d 'The daemon\'s configuration file, to find its address, token and certificate' -r -F
complete -c gunyu -n "__fish_gunyu_using_subcommand resume" -l json -d 'Print the daemon\'s answer as JSON'
complete -c gunyu -n "__fish_gunyu_using_subcommand resume" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gunyu -n "__fish_gunyu_using_subcommand resume" -s V -l version -d 'Print version'
complete -c gunyu -n "__fish_gunyu_using_subcommand restart" -l server -d 'The daemon\'s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand restart" -l token -d 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand restart" -l ca-cert -d 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]' -r -F
complete -c gunyu -n "__fish_gunyu_using_subcommand restart" -s c -l config -d 'The daemon\'s configuration file, to find its address, token and certificate' -r -F
complete -c gunyu -n "__fish_gunyu_using_subcommand restart" -l json -d 'Print the daemon\'s answer as JSON'
complete -c gunyu -n "__fish_gunyu_using_subcommand restart" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gunyu -n "__fish_gunyu_using_subcommand restart" -s V -l version -d 'Print version'
complete -c gunyu -n "__fish_gunyu_using_subcommand handover" -l inputs -d '`all`, or source addresses (host:port) between commas, as `gunyu status` shows them' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand handover" -l server -d 'The daemon\'s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand handover" -l token -d 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand handover" -l ca-cert -d 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]' -r -F
complete -c gunyu -n "__fish_gunyu_using_subcommand handover" -s c -l config -d 'The daemon\'s configuration file, to find its address, token and certificate' -r -F
complete -c gunyu -n "__fish_gunyu_using_subcommand handover" -l to -d 'The member that is to lead, as gunyu status shows it [default: the one whose log reaches furthest]' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand handover" -l json -d 'Print the daemon\'s answer as JSON'
complete -c gunyu -n "__fish_gunyu_using_subcommand handover" -l wait -d 'Return when another node leads'
complete -c gunyu -n "__fish_gunyu_using_subcommand handover" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gunyu -n "__fish_gunyu_using_subcommand handover" -s V -l version -d 'Print version'
complete -c gunyu -n "__fish_gunyu_using_subcommand gc" -l server -d 'The daemon\'s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand gc" -l token -d 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand gc" -l ca-cert -d 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]' -r -F
complete -c gunyu -n "__fish_gunyu_using_subcommand gc" -s c -l config -d 'The daemon\'s configuration file, to find its address, token and certificate' -r -F
complete -c gunyu -n "__fish_gunyu_using_subcommand gc" -l json -d 'Print the daemon\'s answer as JSON'
complete -c gunyu -n "__fish_gunyu_using_subcommand gc" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gunyu -n "__fish_gunyu_using_subcommand gc" -s V -l version -d 'Print version'
complete -c gunyu -n "__fish_gunyu_using_subcommand config" -l server -d 'The daemon\'s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand config" -l token -d 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand config" -l ca-cert -d 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]' -r -F
complete -c gunyu -n "__fish_gunyu_using_subcommand config" -s c -l config -d 'The daemon\'s configuration file, to find its address, token and certificate' -r -F
complete -c gunyu -n "__fish_gunyu_using_subcommand config" -l source -d 'Source, as gunyu sync has it' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand config" -l target -d 'Target, as gunyu sync has it' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand config" -l set -d 'Set any key of the configuration by its dotted path; may be repeated' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand config" -l json -d 'Print the daemon\'s answer as JSON'
complete -c gunyu -n "__fish_gunyu_using_subcommand config" -l local -d 'Show what --config (or --source and --target) means, without a daemon'
complete -c gunyu -n "__fish_gunyu_using_subcommand config" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gunyu -n "__fish_gunyu_using_subcommand config" -s V -l version -d 'Print version'
complete -c gunyu -n "__fish_gunyu_using_subcommand stop" -l server -d 'The daemon\'s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand stop" -l token -d 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]' -r
complete -c gunyu -n "__fish_gunyu_using_subcommand stop" -l ca-cert -d 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]' -r -F
complete -c gunyu -n "__fish_gunyu_using_subcommand stop" -s c -l config -d 'The daemon\'s configuration file, to find its address, token and certificate' -r -F
complete -c gunyu -n "__fish_gunyu_using_subcommand stop" -l json -d 'Print the daemon\'s answer as JSON'
complete -c gunyu -n "__fish_gunyu_using_subcommand stop" -l wait -d 'Return when the daemon has ended'
complete -c gunyu -n "__fish_gunyu_using_subcommand stop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gunyu -n "__fish_gunyu_using_subcommand stop" -s V -l version -d 'Print version'
complete -c gunyu -n "__fish_gunyu_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gunyu -n "__fish_gunyu_using_subcommand completions" -s V -l version -d 'Print version'
complete -c gunyu -n "__fish_gunyu_using_subcommand man" -l dir -d 'Write gunyu.1 and a page for each command into this folder, which is made where it is missing' -r -f -a "(__fish_complete_directories)"
complete -c gunyu -n "__fish_gunyu_using_subcommand man" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gunyu -n "__fish_gunyu_using_subcommand man" -s V -l version -d 'Print version'
complete -c gunyu -n "__fish_gunyu_using_subcommand help; and not __fish_seen_subcommand_from sync status doctor fullsync rdb-dump rdb-load rdb-print rdb-stats verify pause resume restart handover gc config stop completions man help" -f -a "sync" -d 'Run the daemon: follow the source, and keep the target its copy'
complete -c gunyu -n "__fish_gunyu_using_subcommand help; and not __fish_seen_subcommand_from sync status doctor fullsync rdb-dump rdb-load rdb-print rdb-stats verify pause resume restart handover gc config stop completions man help" -f -a "status" -d 'Show how far a running daemon is'
complete -c gunyu -n "__fish_gunyu_using_subcommand help; and not __fish_seen_subcommand_from sync status doctor fullsync rdb-dump rdb-load rdb-print rdb-stats verify pause resume restart handover gc config stop completions man help" -f -a "doctor" -d 'Say what would go wrong between source and target, before it does'
complete -c gunyu -n "__fish_gunyu_using_subcommand help; and not __fish_seen_subcommand_from sync status doctor fullsync rdb-dump rdb-load rdb-print rdb-stats verify pause resume restart handover gc config stop completions man help" -f -a "fullsync" -d 'Copy everything anew: a one-shot migration, or a forced full sync by a running daemon'
complete -c gunyu -n "__fish_gunyu_using_subcommand help; and not __fish_seen_subcommand_from sync status doctor fullsync rdb-dump rdb-load rdb-print rdb-stats verify pause resume restart handover gc config stop completions man help" -f -a "rdb-dump" -d 'Write a snapshot to an RDB file: a running server\'s own, or a daemon\'s newest'
complete -c gunyu -n "__fish_gunyu_using_subcommand help; and not __fish_seen_subcommand_from sync status doctor fullsync rdb-dump rdb-load rdb-print rdb-stats verify pause resume restart handover gc config stop completions man help" -f -a "rdb-load" -d 'Load an RDB file into a running server'
complete -c gunyu -n "__fish_gunyu_using_subcommand help; and not __fish_seen_subcommand_from sync status doctor fullsync rdb-dump rdb-load rdb-print rdb-stats verify pause resume restart handover gc config stop completions man help" -f -a "rdb-print" -d 'Print what is in an RDB file, one JSON object a line'
complete -c gunyu -n "__fish_gunyu_using_subcommand help; and not __fish_seen_subcommand_from sync status doctor fullsync rdb-dump rdb-load rdb-print rdb-stats verify pause resume restart handover gc config stop completions man help" -f -a "rdb-stats" -d 'Show what takes the room in an RDB file'
complete -c gunyu -n "__fish_gunyu_using_subcommand help; and not __fish_seen_subcommand_from sync status doctor fullsync rdb-dump rdb-load rdb-print rdb-stats verify pause resume restart handover gc config stop completions man help" -f -a "verify" -d 'Compare source and target, while a daemon syncs them or not'
complete -c gunyu -n "__fish_gunyu_using_subcommand help; and not __fish_seen_subcommand_from sync status doctor fullsync rdb-dump rdb-load rdb-print rdb-stats verify pause resume restart handover gc config stop completions man help" -f -a "pause" -d 'Stop replaying some inputs; what their sources send is still received and kept'
complete -c gunyu -n "__fish_gunyu_using_subcommand help; and not __fish_seen_subcommand_from sync status doctor fullsync rdb-dump rdb-load rdb-print rdb-stats verify pause resume restart handover gc config stop completions man help" -f -a "resume" -d 'Go on replaying paused inputs'
complete -c gunyu -n "__fish_gunyu_using_subcommand help; and not __fish_seen_subcommand_from sync status doctor fullsync rdb-dump rdb-load rdb-print rdb-stats verify pause resume restart handover gc config stop completions man help" -f -a "restart" -d 'Let every input begin anew from its checkpoint'
complete -c gunyu -n "__fish_gunyu_using_subcommand help; and not __fish_seen_subcommand_from sync status doctor fullsync rdb-dump rdb-load rdb-print rdb-stats verify pause resume restart handover gc config stop completions man help" -f -a "handover" -d 'Hand leadership of some inputs over to another node'
complete -c gunyu -n "__fish_gunyu_using_subcommand help; and not __fish_seen_subcommand_from sync status doctor fullsync rdb-dump rdb-load rdb-print rdb-stats verify pause resume restart handover gc config stop completions man help" -f -a "gc" -d 'Remove logs and checkpoints of inputs that are not configured any more'
complete -c gunyu -n "__fish_gunyu_using_subcommand help; and not __fish_seen_subcommand_from sync status doctor fullsync rdb-dump rdb-load rdb-print rdb-stats verify pause resume restart handover gc config stop completions man help" -f -a "config" -d 'Show the effective configuration, without secrets'
complete -c gunyu -n "__fish_gunyu_using_subcommand help; and not __fish_seen_subcommand_from sync status doctor fullsync rdb-dump rdb-load rdb-print rdb-stats verify pause resume restart handover gc config stop completions man help" -f -a "stop" -d 'Stop a running daemon'
complete -c gunyu -n "__fish_gunyu_using_subcommand help; and not __fish_seen_subcommand_from sync status doctor fullsync rdb-dump rdb-load rdb-print rdb-stats verify pause resume restart handover gc config stop completions man help" -f -a "completions" -d 'Print the completions for a shell'
complete -c gunyu -n "__fish_gunyu_using_subcommand help; and not __fish_seen_subcommand_from sync status doctor fullsync rdb-dump rdb-load rdb-print rdb-stats verify pause resume restart handover gc config stop completions man help" -f -a "man" -d 'Print the manual page, or write all of them into a folder'
complete -c gunyu -n "__fish_gunyu_using_subcommand help; and not __fish_seen_subcommand_from sync status doctor fullsync rdb-dump rdb-load rdb-print rdb-stats verify pause resume restart handover gc config stop completions man help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
