
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'gunyu' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'gunyu'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'gunyu' {
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('sync', 'sync', [CompletionResultType]::ParameterValue, 'Run the daemon: follow the source, and keep the target its copy')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Show how far a running daemon is')
            [CompletionResult]::new('doctor', 'doctor', [CompletionResultType]::ParameterValue, 'Say what would go wrong between source and target, before it does')
            [CompletionResult]::new('fullsync', 'fullsync', [CompletionResultType]::ParameterValue, 'Copy everything anew: a one-shot migration, or a forced full sync by a running daemon')
            [CompletionResult]::new('rdb-dump', 'rdb-dump', [CompletionResultType]::ParameterValue, 'Write a snapshot to an RDB file: a running server''s own, or a daemon''s newest')
            [CompletionResult]::new('rdb-load', 'rdb-load', [CompletionResultType]::ParameterValue, 'Load an RDB file into a running server')
            [CompletionResult]::new('rdb-print', 'rdb-print', [CompletionResultType]::ParameterValue, 'Print what is in an RDB file, one JSON object a line')
            [CompletionResult]::new('rdb-stats', 'rdb-stats', [CompletionResultType]::ParameterValue, 'Show what takes the room in an RDB file')
            [CompletionResult]::new('verify', 'verify', [CompletionResultType]::ParameterValue, 'Compare source and target, while a daemon syncs them or not')
            [CompletionResult]::new('pause', 'pause', [CompletionResultType]::ParameterValue, 'Stop replaying some inputs; what their sources send is still received and kept')
            [CompletionResult]::new('resume', 'resume', [CompletionResultType]::ParameterValue, 'Go on replaying paused inputs')
            [CompletionResult]::new('restart', 'restart', [CompletionResultType]::ParameterValue, 'Let every input begin anew from its checkpoint')
            [CompletionResult]::new('handover', 'handover', [CompletionResultType]::ParameterValue, 'Hand leadership of some inputs over to another node')
            [CompletionResult]::new('gc', 'gc', [CompletionResultType]::ParameterValue, 'Remove logs and checkpoints of inputs that are not configured any more')
            [CompletionResult]::new('config', 'config', [CompletionResultType]::ParameterValue, 'Show the effective configuration, without secrets')
            [CompletionResult]::new('stop', 'stop', [CompletionResultType]::ParameterValue, 'Stop a running daemon')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Print the completions for a shell')
            [CompletionResult]::new('man', 'man', [CompletionResultType]::ParameterValue, 'Print the manual page, or write all of them into a folder')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'gunyu;sync' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'Configuration file (YAML)')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Configuration file (YAML)')
            [CompletionResult]::new('--source', '--source', [CompletionResultType]::ParameterName, 'Source, as redis://[user[:password]@]host:port, rediss://… for TLS, redis+cluster://host:port,host:port or redis+sentinel://host:port,…/mastername; with /db only that database is copied')
            [CompletionResult]::new('--target', '--target', [CompletionResultType]::ParameterName, 'Target, in the same forms; with /db all databases go into that one')
            [CompletionResult]::new('--set', '--set', [CompletionResultType]::ParameterName, 'Set any key of the configuration by its dotted path; may be repeated')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Draw no progress on the terminal')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Draw no progress on the terminal')
            [CompletionResult]::new('--adopt-redis-gunyu-checkpoint', '--adopt-redis-gunyu-checkpoint', [CompletionResultType]::ParameterName, 'Go on from the checkpoint that redis-GunYu has left on the target, without a full sync; refused where it does not fit')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'gunyu;status' {
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'The daemon''s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]')
            [CompletionResult]::new('--token', '--token', [CompletionResultType]::ParameterName, 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]')
            [CompletionResult]::new('--ca-cert', '--ca-cert', [CompletionResultType]::ParameterName, 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'The daemon''s configuration file, to find its address, token and certificate')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The daemon''s configuration file, to find its address, token and certificate')
            [CompletionResult]::new('--source', '--source', [CompletionResultType]::ParameterName, 'Source, as gunyu sync has it')
            [CompletionResult]::new('--target', '--target', [CompletionResultType]::ParameterName, 'Target, as gunyu sync has it')
            [CompletionResult]::new('--set', '--set', [CompletionResultType]::ParameterName, 'Set any key of the configuration by its dotted path; may be repeated')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print the daemon''s JSON as it is')
            [CompletionResult]::new('-w', '-w', [CompletionResultType]::ParameterName, 'Redraw every second until interrupted')
            [CompletionResult]::new('--watch', '--watch', [CompletionResultType]::ParameterName, 'Redraw every second until interrupted')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'Return when every input is live, or one has stopped (exit code 1); a daemon that does not answer is waited for half a minute')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'Ask source and target of --config (or of --source and --target) instead of a daemon')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'gunyu;doctor' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'Configuration file (YAML)')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Configuration file (YAML)')
            [CompletionResult]::new('--source', '--source', [CompletionResultType]::ParameterName, 'Source, as redis://[user[:password]@]host:port, rediss://… for TLS, redis+cluster://host:port,host:port or redis+sentinel://host:port,…/mastername; with /db only that database is copied')
            [CompletionResult]::new('--target', '--target', [CompletionResultType]::ParameterName, 'Target, in the same forms; with /db all databases go into that one')
            [CompletionResult]::new('--set', '--set', [CompletionResultType]::ParameterName, 'Set any key of the configuration by its dotted path; may be repeated')
            [CompletionResult]::new('--outage', '--outage', [CompletionResultType]::ParameterName, 'So long the source may be out of reach without a full sync afterwards: its backlog should last')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print the findings as JSON')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'gunyu;fullsync' {
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'The daemon''s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]')
            [CompletionResult]::new('--token', '--token', [CompletionResultType]::ParameterName, 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]')
            [CompletionResult]::new('--ca-cert', '--ca-cert', [CompletionResultType]::ParameterName, 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'The daemon''s configuration file, to find its address, token and certificate')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The daemon''s configuration file, to find its address, token and certificate')
            [CompletionResult]::new('--source', '--source', [CompletionResultType]::ParameterName, 'Source to copy here, as redis://[user[:password]@]host:port, rediss://… for TLS, redis+cluster://host:port,host:port or redis+sentinel://host:port,…/mastername; with /db only that database is copied')
            [CompletionResult]::new('--target', '--target', [CompletionResultType]::ParameterName, 'Target to copy to here, in the same forms; with /db all databases go into that one')
            [CompletionResult]::new('--set', '--set', [CompletionResultType]::ParameterName, 'Set any key of the configuration by its dotted path, for a copy made here; may be repeated')
            [CompletionResult]::new('--inputs', '--inputs', [CompletionResultType]::ParameterName, 'What the daemon is to copy: `all`, or source addresses (host:port) between commas')
            [CompletionResult]::new('--flush-command', '--flush-command', [CompletionResultType]::ParameterName, 'What FLUSHDB is called on the target, where it was renamed')
            [CompletionResult]::new('--patience', '--patience', [CompletionResultType]::ParameterName, 'Give up when nothing has moved for so long')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'Run here, with --config, instead of asking a daemon')
            [CompletionResult]::new('--flushdb', '--flushdb', [CompletionResultType]::ParameterName, 'Empty the target''s databases that are fed, first')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'Follow the daemon''s progress until the stream is live')
            [CompletionResult]::new('--snapshot-only', '--snapshot-only', [CompletionResultType]::ParameterName, 'End after the snapshot, and leave nothing of gunyu''s on the target')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print the outcome as JSON; draw no progress')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Draw no progress')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Draw no progress')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Trace on stderr what is going on, as log.level says')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Trace on stderr what is going on, as log.level says')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'gunyu;rdb-dump' {
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'The daemon''s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]')
            [CompletionResult]::new('--token', '--token', [CompletionResultType]::ParameterName, 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]')
            [CompletionResult]::new('--ca-cert', '--ca-cert', [CompletionResultType]::ParameterName, 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'The daemon''s configuration file, to find its address, token and certificate')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The daemon''s configuration file, to find its address, token and certificate')
            [CompletionResult]::new('--source', '--source', [CompletionResultType]::ParameterName, 'The server to take it of here, as redis://[user[:password]@]host:port, or redis+cluster://host:port,host:port')
            [CompletionResult]::new('--set', '--set', [CompletionResultType]::ParameterName, 'Set any key of the configuration by its dotted path, for a snapshot taken here; may be repeated')
            [CompletionResult]::new('--input', '--input', [CompletionResultType]::ParameterName, 'The daemon''s input, by its source address (host:port); may be left out where there is only one')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'The file to write, or - for stdout')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'The file to write, or - for stdout')
            [CompletionResult]::new('--patience', '--patience', [CompletionResultType]::ParameterName, 'Give up when nothing has come of the server for so long')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'Take the snapshot here, of input.redis in --config, instead of asking a daemon')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print the outcome as JSON; draw no progress')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Draw no progress')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Draw no progress')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Trace on stderr what is going on, as log.level says')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Trace on stderr what is going on, as log.level says')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'gunyu;rdb-load' {
            [CompletionResult]::new('--target', '--target', [CompletionResultType]::ParameterName, 'Target, as redis://[user[:password]@]host:port[/db], or redis+cluster://host:port,host:port; with /db all keys go into that database')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'Configuration file (YAML), of which output counts')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Configuration file (YAML), of which output counts')
            [CompletionResult]::new('--set', '--set', [CompletionResultType]::ParameterName, 'Set any key of the configuration by its dotted path; may be repeated')
            [CompletionResult]::new('-j', '-j', [CompletionResultType]::ParameterName, 'Connections to the target; output.replay.connections otherwise')
            [CompletionResult]::new('--jobs', '--jobs', [CompletionResultType]::ParameterName, 'Connections to the target; output.replay.connections otherwise')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print the outcome as JSON; draw no progress')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Draw no progress')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Draw no progress')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Trace on stderr what is going on, as log.level says')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Trace on stderr what is going on, as log.level says')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'gunyu;rdb-print' {
            [CompletionResult]::new('--match', '--match', [CompletionResultType]::ParameterName, 'Only keys that match a pattern, as KEYS knows them')
            [CompletionResult]::new('--db', '--db', [CompletionResultType]::ParameterName, 'Only keys of this database; may be repeated')
            [CompletionResult]::new('--type', '--type', [CompletionResultType]::ParameterName, 'Only this type; may be repeated')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Write to a file, which appears whole or not at all')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Write to a file, which appears whole or not at all')
            [CompletionResult]::new('--no-value', '--no-value', [CompletionResultType]::ParameterName, 'Leave out what keys, modules and functions hold')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'For symmetry with other commands: it is JSON anyway')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Draw no progress')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Draw no progress')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'gunyu;rdb-stats' {
            [CompletionResult]::new('--top', '--top', [CompletionResultType]::ParameterName, 'How many keys and prefixes to list')
            [CompletionResult]::new('--prefix-separator', '--prefix-separator', [CompletionResultType]::ParameterName, 'Characters that end a prefix')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print the figures as JSON; draw no progress')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Draw no progress')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Draw no progress')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'gunyu;verify' {
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'Configuration file (YAML)')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Configuration file (YAML)')
            [CompletionResult]::new('--source', '--source', [CompletionResultType]::ParameterName, 'Source, as redis://[user[:password]@]host:port, rediss://… for TLS, redis+cluster://host:port,host:port or redis+sentinel://host:port,…/mastername; with /db only that database is copied')
            [CompletionResult]::new('--target', '--target', [CompletionResultType]::ParameterName, 'Target, in the same forms; with /db all databases go into that one')
            [CompletionResult]::new('--set', '--set', [CompletionResultType]::ParameterName, 'Set any key of the configuration by its dotted path; may be repeated')
            [CompletionResult]::new('--compare', '--compare', [CompletionResultType]::ParameterName, 'How much is compared; each includes those before it')
            [CompletionResult]::new('--ttl-tolerance', '--ttl-tolerance', [CompletionResultType]::ParameterName, 'Times of expiry that are no farther apart are the same')
            [CompletionResult]::new('--sample', '--sample', [CompletionResultType]::ParameterName, 'Only this part of the keys, chosen by their names: the same on both sides')
            [CompletionResult]::new('--match', '--match', [CompletionResultType]::ParameterName, 'Only keys like this, as SCAN MATCH has it')
            [CompletionResult]::new('--rate', '--rate', [CompletionResultType]::ParameterName, 'At most so many keys a second')
            [CompletionResult]::new('--rounds', '--rounds', [CompletionResultType]::ParameterName, 'Look at what differs so often again at most')
            [CompletionResult]::new('--patience', '--patience', [CompletionResultType]::ParameterName, 'Take a checkpoint that does not move for so long for one that nobody writes')
            [CompletionResult]::new('--differences', '--differences', [CompletionResultType]::ParameterName, 'Write the keys that differ to this file, a JSON object a line')
            [CompletionResult]::new('--repair', '--repair', [CompletionResultType]::ParameterName, 'Copy what differs anew from the source, while the stream goes on, and look at it again; keys that the source does not have are removed where output.replay.staleKeys has a full sync delete them: if it is auto, in databases that were empty at the first sync, and if no other sync uses the target')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'With --repair: only say what would be done')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print the outcome as JSON; draw no progress')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Draw no progress')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Draw no progress')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Trace on stderr what is going on, as log.level says')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Trace on stderr what is going on, as log.level says')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'gunyu;pause' {
            [CompletionResult]::new('--inputs', '--inputs', [CompletionResultType]::ParameterName, '`all`, or source addresses (host:port) between commas, as `gunyu status` shows them')
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'The daemon''s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]')
            [CompletionResult]::new('--token', '--token', [CompletionResultType]::ParameterName, 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]')
            [CompletionResult]::new('--ca-cert', '--ca-cert', [CompletionResultType]::ParameterName, 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'The daemon''s configuration file, to find its address, token and certificate')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The daemon''s configuration file, to find its address, token and certificate')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print the daemon''s answer as JSON')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'gunyu;resume' {
            [CompletionResult]::new('--inputs', '--inputs', [CompletionResultType]::ParameterName, '`all`, or source addresses (host:port) between commas, as `gunyu status` shows them')
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'The daemon''s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]')
            [CompletionResult]::new('--token', '--token', [CompletionResultType]::ParameterName, 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]')
            [CompletionResult]::new('--ca-cert', '--ca-cert', [CompletionResultType]::ParameterName, 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'The daemon''s configuration file, to find its address, token and certificate')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The daemon''s configuration file, to find its address, token and certificate')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print the daemon''s answer as JSON')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'gunyu;restart' {
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'The daemon''s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]')
            [CompletionResult]::new('--token', '--token', [CompletionResultType]::ParameterName, 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]')
            [CompletionResult]::new('--ca-cert', '--ca-cert', [CompletionResultType]::ParameterName, 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'The daemon''s configuration file, to find its address, token and certificate')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The daemon''s configuration file, to find its address, token and certificate')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print the daemon''s answer as JSON')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'gunyu;handover' {
            [CompletionResult]::new('--inputs', '--inputs', [CompletionResultType]::ParameterName, '`all`, or source addresses (host:port) between commas, as `gunyu status` shows them')
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'The daemon''s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]')
            [CompletionResult]::new('--token', '--token', [CompletionResultType]::ParameterName, 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]')
            [CompletionResult]::new('--ca-cert', '--ca-cert', [CompletionResultType]::ParameterName, 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'The daemon''s configuration file, to find its address, token and certificate')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The daemon''s configuration file, to find its address, token and certificate')
            [CompletionResult]::new('--to', '--to', [CompletionResultType]::ParameterName, 'The member that is to lead, as gunyu status shows it [default: the one whose log reaches furthest]')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print the daemon''s answer as JSON')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'Return when another node leads')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'gunyu;gc' {
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'The daemon''s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]')
            [CompletionResult]::new('--token', '--token', [CompletionResultType]::ParameterName, 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]')
            [CompletionResult]::new('--ca-cert', '--ca-cert', [CompletionResultType]::ParameterName, 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'The daemon''s configuration file, to find its address, token and certificate')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The daemon''s configuration file, to find its address, token and certificate')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print the daemon''s answer as JSON')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'gunyu;config' {
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'The daemon''s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]')
            [CompletionResult]::new('--token', '--token', [CompletionResultType]::ParameterName, 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]')
            [CompletionResult]::new('--ca-cert', '--ca-cert', [CompletionResultType]::ParameterName, 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'The daemon''s configuration file, to find its address, token and certificate')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The daemon''s configuration file, to find its address, token and certificate')
            [CompletionResult]::new('--source', '--source', [CompletionResultType]::ParameterName, 'Source, as gunyu sync has it')
            [CompletionResult]::new('--target', '--target', [CompletionResultType]::ParameterName, 'Target, as gunyu sync has it')
            [CompletionResult]::new('--set', '--set', [CompletionResultType]::ParameterName, 'Set any key of the configuration by its dotted path; may be repeated')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print the daemon''s answer as JSON')
            [CompletionResult]::new('--local', '--local', [CompletionResultType]::ParameterName, 'Show what --config (or --source and --target) means, without a daemon')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'gunyu;stop' {
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'The daemon''s address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]')
            [CompletionResult]::new('--token', '--token', [CompletionResultType]::ParameterName, 'The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]')
            [CompletionResult]::new('--ca-cert', '--ca-cert', [CompletionResultType]::ParameterName, 'Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'The daemon''s configuration file, to find its address, token and certificate')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The daemon''s configuration file, to find its address, token and certificate')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print the daemon''s answer as JSON')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'Return when the daemon has ended')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'gunyu;completions' {
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'gunyu;man' {
            [CompletionResult]::new('--dir', '--dir', [CompletionResultType]::ParameterName, 'Write gunyu.1 and a page for each command into this folder, which is made where it is missing')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'gunyu;help' {
            [CompletionResult]::new('sync', 'sync', [CompletionResultType]::ParameterValue, 'Run the daemon: follow the source, and keep the target its copy')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Show how far a running daemon is')
            [CompletionResult]::new('doctor', 'doctor', [CompletionResultType]::ParameterValue, 'Say what would go wrong between source and target, before it does')
            [CompletionResult]::new('fullsync', 'fullsync', [CompletionResultType]::ParameterValue, 'Copy everything anew: a one-shot migration, or a forced full sync by a running daemon')
            [CompletionResult]::new('rdb-dump', 'rdb-dump', [CompletionResultType]::ParameterValue, 'Write a snapshot to an RDB file: a running server''s own, or a daemon''s newest')
            [CompletionResult]::new('rdb-load', 'rdb-load', [CompletionResultType]::ParameterValue, 'Load an RDB file into a running server')
            [CompletionResult]::new('rdb-print', 'rdb-print', [CompletionResultType]::ParameterValue, 'Print what is in an RDB file, one JSON object a line')
            [CompletionResult]::new('rdb-stats', 'rdb-stats', [CompletionResultType]::ParameterValue, 'Show what takes the room in an RDB file')
            [CompletionResult]::new('verify', 'verify', [CompletionResultType]::ParameterValue, 'Compare source and target, while a daemon syncs them or not')
            [CompletionResult]::new('pause', 'pause', [CompletionResultType]::ParameterValue, 'Stop replaying some inputs; what their sources send is still received and kept')
            [CompletionResult]::new('resume', 'resume', [CompletionResultType]::ParameterValue, 'Go on replaying paused inputs')
            [CompletionResult]::new('restart', 'restart', [CompletionResultType]::ParameterValue, 'Let every input begin anew from its checkpoint')
            [CompletionResult]::new('handover', 'handover', [CompletionResultType]::ParameterValue, 'Hand leadership of some inputs over to another node')
            [CompletionResult]::new('gc', 'gc', [CompletionResultType]::ParameterValue, 'Remove logs and checkpoints of inputs that are not configured any more')
            [CompletionResult]::new('config', 'config', [CompletionResultType]::ParameterValue, 'Show the effective configuration, without secrets')
            [CompletionResult]::new('stop', 'stop', [CompletionResultType]::ParameterValue, 'Stop a running daemon')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Print the completions for a shell')
            [CompletionResult]::new('man', 'man', [CompletionResultType]::ParameterValue, 'Print the manual page, or write all of them into a folder')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'gunyu;help;sync' {
            break
        }
        'gunyu;help;status' {
            break
        }
        'gunyu;help;doctor' {
            break
        }
        'gunyu;help;fullsync' {
            break
        }
        'gunyu;help;rdb-dump' {
            break
        }
        'gunyu;help;rdb-load' {
            break
        }
        'gunyu;help;rdb-print' {
            break
        }
        'gunyu;help;rdb-stats' {
            break
        }
        'gunyu;help;verify' {
            break
        }
        'gunyu;help;pause' {
            break
        }
        'gunyu;help;resume' {
            break
        }
        'gunyu;help;restart' {
            break
        }
        'gunyu;help;handover' {
            break
        }
        'gunyu;help;gc' {
            break
        }
        'gunyu;help;config' {
            break
        }
        'gunyu;help;stop' {
            break
        }
        'gunyu;help;completions' {
            break
        }
        'gunyu;help;man' {
            break
        }
        'gunyu;help;help' {
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
