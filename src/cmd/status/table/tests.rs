//! What the status looks like, line by line.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::*;

fn page(width: usize, height: Option<usize>) -> Page {
    Page {
        width,
        height,
        clock: "12:03:44".into(),
    }
}

fn texts(inputs: &[InputStatus], page: &Page) -> Vec<String> {
    let lines = view(inputs, &Pace::default(), page).into_iter();
    lines.map(|line| line.text).collect()
}

fn in_backoff() -> InputStatus {
    example(&json!({
        "Input": "127.0.0.1:7001", "Phase": "backoff", "LagBytes": 1_258_291, "LagMs": 340, "DeadLetters": 2,
        "Target": "a-host-with-a-long-name.example.org:6380",
        "LastError": {"At": 0, "Message": "the target is away", "Hint": "bring it back"},
    }))
}

/// 47 live, two in a full sync, one in backoff.
fn fifty() -> Vec<InputStatus> {
    let address = |n: u32| format!("[2001:db8:85a3::{n:x}]:6379");
    let mut inputs: Vec<InputStatus> = (0..47)
        .map(|n| example(&json!({"Input": address(n), "LagBytes": u64::from(n) * 64})))
        .collect();
    let full_sync = json!({
        "Percent": 42.3, "Keys": 1_234_567, "Bytes": 1_u64 << 30, "TotalBytes": 3_u64 << 30,
        "Reason": "the source refused to continue: its backlog no longer holds our position"
    });
    for n in 47..49 {
        inputs.push(example(
            &json!({"Input": address(n), "Phase": "full_sync", "FullSync": full_sync}),
        ));
    }
    inputs.push(in_backoff());
    inputs
}

fn widest(lines: &[String]) -> usize {
    lines.iter().map(|line| line.chars().count()).max().unwrap()
}

#[test]
fn a_row_fits_eighty_columns_and_troubles_stand_below_it() {
    let text = plain(&[in_backoff()], &Pace::default());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0].chars().count(), 80);
    assert_eq!(
        lines[1],
        "127.0.0.1:7001        …ame.example.org:6380 run    backoff       1.2 MiB  340 ms"
    );
    assert_eq!(
        &lines[2..],
        [
            "  error: the target is away",
            "  hint: bring it back",
            "  2 commands in the dead-letter file"
        ]
    );
    assert!(!text.contains('\x1b'));
}

#[test]
fn one_input_is_a_summary_a_head_and_a_row() {
    let lines = texts(&[example(&json!({"LagBytes": 3_072}))], &page(80, Some(24)));
    assert_eq!(lines[0], "1 input: live · lag 3 KiB, 0 ms · 12:03:44");
    assert!(lines[1].starts_with("INPUT ") && lines[2].contains("incremental"));
    assert_eq!((lines.len(), widest(&lines)), (3, 80));
}

#[test]
fn fifty_inputs_fit_a_window_and_the_rest_is_summed_up() {
    let lines = texts(&fifty(), &page(80, Some(24)));
    let all = "50 inputs: 47 live, 2 full sync, 1 backoff";
    assert_eq!(
        lines[0],
        format!("{all} · lag 1.2 MiB, 340 ms · 12:03:44"),
        "81 with `worst`"
    );
    let wide = texts(&fifty(), &page(81, None));
    assert_eq!(wide[0], format!("{all} · worst lag 1.2 MiB, 340 ms · 12:03:44"));
    let narrow = texts(&fifty(), &page(45, None));
    assert_eq!(narrow[..2], [all, "lag 1.2 MiB, 340 ms · 12:03:44"]);
    assert_eq!((lines.len(), widest(&lines)), (24, 80));
    let place = |text: &str| lines.iter().position(|line| line.contains(text)).unwrap();
    assert!(place(" backoff ") < place("full_sync") && place("full_sync") < place("incremental"));
    let shown = lines.iter().filter(|line| line.contains("incremental")).count();
    let rest = 47 - shown;
    let last = lines.last().unwrap();
    assert!(
        last.starts_with(&format!("… and {rest} more, all live, lag at most ")),
        "{last}"
    );
    assert!(
        place("85a3::2e]:6379") < place("85a3::2d]:6379"),
        "the largest lag first"
    );
}

#[test]
fn without_a_height_all_inputs_are_shown() {
    let lines = texts(&fifty(), &page(80, None));
    let rows = lines.iter().filter(|line| line.contains("]:6379")).count();
    assert_eq!((rows, widest(&lines)), (49, 80));
}

#[test]
fn no_window_is_too_small() {
    for (width, height) in [
        (80, 24),
        (40, 10),
        (20, 4),
        (80, 3),
        (80, 2),
        (3, 1),
        (1, 1),
        (200, 60),
    ] {
        let lines = texts(&fifty(), &page(width, Some(height)));
        assert!(
            lines.len() <= height && widest(&lines) <= width,
            "{width}x{height}: {lines:#?}"
        );
    }
}

#[test]
fn a_wide_window_shows_addresses_whole() {
    let lines = texts(&[in_backoff()], &page(140, Some(24)));
    assert!(
        lines[2].contains(" a-host-with-a-long-name.example.org:6380 "),
        "{lines:#?}"
    );
}

#[test]
fn what_needs_attention_comes_first() {
    let states = [
        ("a", json!({"LagBytes": 1})),
        ("b", json!({"LagBytes": 2})),
        ("c", json!({"State": "pause", "LagBytes": 900})),
        ("d", json!({"Phase": "full_sync"})),
        ("e", json!({"Phase": "connecting"})),
        ("f", json!({"State": "stop"})),
    ];
    let inputs: Vec<InputStatus> = states
        .into_iter()
        .map(|(name, mut but)| {
            but["Input"] = name.into();
            example(&but)
        })
        .collect();
    let lines = texts(&inputs, &page(80, Some(24)));
    let names: String = lines[3..].iter().filter_map(|line| line.chars().next()).collect();
    assert_eq!(names, "fedcba", "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains(" PAUSED ")), "{lines:#?}");
    assert!(lines[0].starts_with("6 inputs: 2 live, 1 full sync, 1 paused, 1 connecting, 1 stopped"));
}

/// As three members show it: one leads, one follows, of the last input nobody does.
fn of_a_group() -> Vec<InputStatus> {
    let trouble = json!({"At": 0, "Message": "the leader was away", "Hint": ""});
    let members = ["10.0.0.5:18001", "10.0.0.6:18001"];
    let fields = [
        json!({"Role": "leader", "Leader": members[0], "Epoch": 7}),
        json!({"Role": "follower", "Phase": "following", "Leader": members[1], "Epoch": 3, "LastError": trouble}),
        json!({"Role": "follower", "Phase": "following", "State": "pause", "Leader": members[1], "Epoch": 4}),
        json!({"Role": "follower", "Phase": "connecting", "Leader": "", "Epoch": 0}),
    ];
    let inputs = fields.into_iter().enumerate().map(|(number, mut but)| {
        but["Input"] = format!("127.0.0.1:{number}").into();
        but["Members"] = json!(members[..=usize::from(number < 3)]);
        example(&but)
    });
    inputs.collect()
}

#[test]
fn in_a_group_each_input_says_who_leads_it_and_the_end_who_could() {
    let text = plain(&of_a_group(), &Pace::default());
    let lines: Vec<&str> = text.lines().collect();
    let below = |number: usize| {
        let row = lines
            .iter()
            .position(|line| line.starts_with(&format!("127.0.0.1:{number} ")));
        lines[row.unwrap() + 1]
    };
    assert_eq!(
        [0, 1, 2, 3].map(below),
        [
            "  leads, epoch 7",
            "  led by 10.0.0.6:18001, epoch 3",
            "  led by 10.0.0.6:18001, epoch 4",
            "  nobody leads it"
        ]
    );
    assert_eq!(lines.last(), Some(&"members: 10.0.0.5:18001, 10.0.0.6:18001"));
    assert!(text.contains(" PAUSED following "), "{text}");
    assert!(!text.contains("was away"), "it follows, so that is past: {text}");
    assert_eq!(lines.len(), 1 + 2 * 4 + 1);
    let alone = plain(&[example(&json!({"Members": ["me"]}))], &Pace::default());
    assert_eq!(alone.lines().count(), 2, "{alone}");
}

#[test]
fn members_stand_last_where_there_is_room() {
    let inputs = of_a_group();
    let last = |height| texts(&inputs, &page(80, height)).pop().unwrap();
    assert!(last(None).starts_with("members: "));
    assert!(last(Some(24)).starts_with("members: "));
    assert!(last(Some(10)).starts_with("  "), "{}", last(Some(10)));
    assert!(last(Some(8)).starts_with("… and "));
}

#[test]
fn a_full_sync_tells_how_far_it_is() {
    let full_sync = serde_json::from_value(json!({
        "Percent": 42.3, "Keys": 12_345, "Bytes": 1_u64 << 30, "TotalBytes": 3_u64 << 30, "Reason": "first sync"
    }));
    assert_eq!(
        progress(&full_sync.unwrap(), Some(Duration::from_secs(200))),
        "full sync (first sync): 42.3%, 12,345 keys, 1 GiB of 3 GiB, eta 3.3 min"
    );
    let diskless = serde_json::from_value(json!({
        "Percent": 0.0, "Keys": 1, "Bytes": 5, "TotalBytes": 0, "Reason": "first sync"
    }));
    assert_eq!(
        progress(&diskless.unwrap(), None),
        "full sync (first sync): 1 keys, 5 B"
    );
}

/// One node of a target that takes nothing, or keys that the target evicts, are no reason for another phase.
#[test]
fn a_trouble_of_an_input_that_is_live_is_shown_while_it_is_recent() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let shown = |age_s: u64, state: &str| {
        let at = u64::try_from(now.as_millis()).unwrap() - age_s * 1_000;
        let error = json!({"At": at, "Message": "a node is full", "Hint": "give it more"});
        let input = example(&json!({"State": state, "LastError": error}));
        texts(&[input], &page(80, Some(24))).join("|")
    };
    let recent = shown(20, "run");
    assert!(
        recent.contains("s ago: a node is full") && recent.contains("hint: give it more"),
        "{recent}"
    );
    let old = shown(90, "run");
    assert!(!old.contains("full") && !old.contains("hint"), "{old}");
    let stopped = shown(90, "stop");
    assert!(stopped.contains("error: a node is full"), "{stopped}");
}

#[test]
fn what_a_server_says_cannot_command_the_terminal() {
    let mut input = in_backoff();
    input.last_error.as_mut().unwrap().message = "a\x1b[2J\nb".into();
    let text = texts(&[input], &page(80, Some(24))).join("");
    assert!(
        !text.contains('\x1b') && text.contains("error: a [2J b"),
        "{text}"
    );
}

#[test]
fn colours_are_put_around_a_line_and_only_where_wanted() {
    let line = Line::new(Tone::Trouble, "x".into());
    assert_eq!(line.painted(true), "\x1b[31mx\x1b[0m");
    assert_eq!(line.painted(false), "x");
}
