//! Lines over time as SVG: panels under each other with one axis of time, and a row of ticks for each class of fault.

use std::fmt::Write as _;

use super::bed::LOGS_MAX;
use super::faults::Class;
use super::run::Happened;
use super::sample::Sample;

const WIDTH: f64 = 1_000.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 225.0;
const TOP: f64 = 46.0;
const PANEL: f64 = 112.0;
const GAP: f64 = 30.0;
const ROW: f64 = 16.0;

const COLOURS: [&str; 4] = ["#1f6fb4", "#d1581c", "#2b8a4a", "#8a4fb0"];

/// How values become heights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// From 0 to so much.
    Linear(f64),
    /// By powers of ten, from 1 to so much; what is less is drawn as 1.
    Log(f64),
}

impl Scale {
    /// One that holds all of them.
    pub fn linear(values: impl Iterator<Item = f64>) -> Scale {
        let most = values.fold(0.0, f64::max);
        let step = step(most.max(1e-9));
        Scale::Linear((most.max(1e-9) / step).ceil() * step)
    }

    pub fn log(values: impl Iterator<Item = f64>) -> Scale {
        let most = values.fold(10.0, f64::max);
        Scale::Log(10f64.powf(most.log10().ceil()))
    }

    /// 0 at the bottom, 1 at the top.
    pub fn share(self, value: f64) -> f64 {
        let share = match self {
            Scale::Linear(top) => value / top,
            Scale::Log(top) => value.max(1.0).log10() / top.log10(),
        };
        share.clamp(0.0, 1.0)
    }

    /// Where lines are drawn across.
    pub fn ticks(self) -> Vec<f64> {
        match self {
            Scale::Linear(top) => {
                let step = step(top);
                let count = (top / step).round() as u32;
                (0..=count).map(|number| f64::from(number) * step).collect()
            }
            Scale::Log(top) => {
                let powers = top.log10().round() as i32;
                let every = if powers > 4 { 2 } else { 1 };
                (0..=powers)
                    .step_by(every)
                    .map(|power| 10f64.powi(power))
                    .collect()
            }
        }
    }
}

/// 1, 2 or 5 times a power of ten, so that there are three to six of them.
fn step(top: f64) -> f64 {
    let rough = top / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power);
    steps
        .into_iter()
        .find(|step| *step >= rough * 0.999_999)
        .unwrap_or(10.0 * power)
}

/// At most two points, the least and the most, for each column of pixels: what is drawn holds every peak.
pub fn thinned(points: &[(f64, f64)], columns: usize, end: f64) -> Vec<(f64, f64)> {
    let column = |at: f64| (at / end * columns as f64) as usize;
    let mut kept = Vec::new();
    for same in points.chunk_by(|one, other| column(one.0) == column(other.0)) {
        let by_value = |one: &&(f64, f64), other: &&(f64, f64)| one.1.total_cmp(&other.1);
        let (low, high) = (same.iter().min_by(by_value), same.iter().max_by(by_value));
        let (Some(low), Some(high)) = (low, high) else {
            continue;
        };
        let mut both = [*low, *high];
        both.sort_by(|one, other| one.0.total_cmp(&other.0));
        kept.push(both[0]);
        if both[1] != both[0] {
            kept.push(both[1]);
        }
    }
    kept
}

pub struct Line {
    pub name: &'static str,
    pub points: Vec<(f64, f64)>,
}

pub struct Panel {
    pub title: &'static str,
    pub scale: Scale,
    pub lines: Vec<Line>,
    /// A line that nothing may cross.
    pub limit: Option<(&'static str, f64)>,
}

struct Page {
    text: String,
    /// Seconds.
    end: f64,
}

impl Page {
    fn x(&self, at: f64) -> f64 {
        LEFT + (at / self.end).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn put(&mut self, part: &str) {
        self.text.push_str(part);
        self.text.push('\n');
    }

    fn words(&mut self, x: f64, y: f64, anchor: &str, class: &str, words: &str) {
        self.put(&format!(
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" class="{class}">{words}</text>"#
        ));
    }

    fn stroke(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.put(&format!(
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" class="{class}"/>"#
        ));
    }

    fn panel(&mut self, top: f64, panel: &Panel) {
        let y = |value: f64| top + PANEL * (1.0 - panel.scale.share(value));
        self.words(LEFT, top - 7.0, "start", "title", panel.title);
        for tick in panel.scale.ticks() {
            self.stroke((LEFT, y(tick)), (WIDTH - RIGHT, y(tick)), "grid");
            self.words(LEFT - 6.0, y(tick) + 3.5, "end", "tick", &plain(tick));
        }
        let columns = (WIDTH - LEFT - RIGHT) as usize;
        for (number, line) in panel.lines.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            let mut path = String::new();
            let mut before = None;
            for (at, value) in thinned(&line.points, columns, self.end) {
                // Where nothing was measured nothing is drawn.
                let is_gap = before.is_none_or(|before| at - before > 6.0_f64.max(self.end / 200.0));
                let how = if is_gap { 'M' } else { 'L' };
                write!(path, "{how}{:.1} {:.1}", self.x(at), y(value)).unwrap();
                before = Some(at);
            }
            self.put(&format!(r#"<path d="{path}" class="line" stroke="{colour}"/>"#));
            self.legend(top + 12.0 + 17.0 * number as f64, colour, line.name);
        }
        if let Some((name, limit)) = panel.limit {
            self.stroke((LEFT, y(limit)), (WIDTH - RIGHT, y(limit)), "limit");
            self.legend(top + 12.0 + 17.0 * panel.lines.len() as f64, "#b00020", name);
        }
    }

    fn legend(&mut self, y: f64, colour: &str, name: &str) {
        let x = WIDTH - RIGHT + 12.0;
        self.put(&format!(
            r#"<rect x="{x:.1}" y="{:.1}" width="14" height="3" fill="{colour}"/>"#,
            y - 1.5
        ));
        self.words(x + 20.0, y + 3.5, "start", "tick", name);
    }
}

fn plain(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{}M", value / 1e6),
        value if value >= 1e4 => format!("{}k", value / 1e3),
        value => format!("{}", (value * 100.0).round() / 100.0),
    }
}

/// All of it.
pub fn draw(title: &str, end: f64, panels: &[Panel], faults: &[(f64, Class)], births: &[f64]) -> String {
    let rows = TOP + 22.0 + (PANEL + GAP) * panels.len() as f64;
    let bottom = rows + ROW * Class::ALL.len() as f64;
    let mut page = Page {
        text: String::new(),
        end: end.max(1.0),
    };
    page.put(&format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {:.0}" font-family="sans-serif">"#,
        bottom + 40.0
    ));
    page.put("<style>.title{font-size:12px;font-weight:bold}.tick{font-size:11px;fill:#333}.head{font-size:15px;font-weight:bold}.grid{stroke:#ddd}.limit{stroke:#b00020;stroke-dasharray:6 3}.life{stroke:#999;stroke-dasharray:2 3}.line{fill:none;stroke-width:1.2}.fault{stroke-width:1.3}</style>");
    page.put(r#"<rect width="100%" height="100%" fill="white"/>"#);
    page.words(LEFT, 20.0, "start", "head", title);
    for birth in births {
        let x = page.x(*birth);
        page.stroke((x, TOP), (x, bottom), "life");
    }
    for (number, panel) in panels.iter().enumerate() {
        page.panel(TOP + 16.0 + (PANEL + GAP) * number as f64, panel);
    }
    for (number, class) in Class::ALL.into_iter().enumerate() {
        let (y, colour) = (rows + ROW * number as f64, COLOURS[number]);
        let of_class = faults.iter().filter(|(_, other)| *other == class);
        for (at, _) in of_class {
            let x = page.x(*at);
            page.put(&format!(
                r#"<line x1="{x:.1}" y1="{y:.1}" x2="{x:.1}" y2="{:.1}" class="fault" stroke="{colour}"/>"#,
                y + ROW - 4.0
            ));
        }
        page.legend(y + 6.0, colour, class.name());
    }
    page.words(LEFT - 6.0, rows + ROW * 2.0, "end", "tick", "faults");
    let minutes = Scale::linear([page.end / 60.0].into_iter());
    for tick in minutes.ticks() {
        if tick * 60.0 > page.end {
            break;
        }
        let x = page.x(tick * 60.0);
        page.stroke((x, bottom), (x, bottom + 5.0), "life");
        page.words(x, bottom + 18.0, "middle", "tick", &plain(tick));
    }
    page.words(WIDTH - RIGHT + 12.0, bottom + 18.0, "start", "tick", "minutes");
    page.words(
        WIDTH - RIGHT + 12.0,
        20.0,
        "start",
        "tick",
        "dashed: a life of gunyu begins",
    );
    page.put("</svg>");
    page.text
}

/// What a run measured.
pub fn of_run(title: &str, end: f64, samples: &[Sample], faults: &[Happened], births: &[f64]) -> String {
    const MIB: f64 = (1 << 20) as f64;
    let line = |name: &'static str, of: fn(&Sample) -> Option<f64>| Line {
        name,
        points: samples
            .iter()
            .filter_map(|sample| Some((sample.at, of(sample)?)))
            .collect(),
    };
    let panel = |title: &'static str, lines: Vec<Line>, limit: Option<(&'static str, f64)>| {
        let values = lines
            .iter()
            .flat_map(|line| line.points.iter().map(|point| point.1));
        Panel {
            title,
            scale: Scale::linear(values.chain(limit.map(|limit| limit.1))),
            lines,
            limit,
        }
    };
    let memory = vec![
        line("RssAnon", |sample| Some(sample.rss_anon as f64 / MIB)),
        line("VmRSS", |sample| Some(sample.rss as f64 / MIB)),
    ];
    let counts = vec![
        line("open files", |sample| Some(sample.open_files as f64)),
        line("tasks", |sample| Some(sample.told?.tasks as f64)),
        line("threads", |sample| Some(sample.threads as f64)),
    ];
    let disk = vec![
        line("logs, by its own count", |sample| {
            Some(sample.told?.logs as f64 / MIB)
        }),
        line("all files", |sample| Some(sample.disk as f64 / MIB)),
    ];
    let lag = vec![
        line("bytes", |sample| Some(sample.told?.lag_bytes as f64)),
        line("milliseconds", |sample| Some(sample.told?.lag_ms as f64)),
    ];
    let behind = lag
        .iter()
        .flat_map(|line| line.points.iter().map(|point| point.1));
    let lag = Panel {
        title: "Lag, bytes and milliseconds (powers of ten; none is drawn as 1)",
        scale: Scale::log(behind),
        lines: lag,
        limit: None,
    };
    let panels = [
        panel("Memory, MiB", memory, None),
        panel("Open files, tasks, threads", counts, None),
        panel(
            "Disk, MiB",
            disk,
            Some(("channel.storer.maxSize", LOGS_MAX as f64 / MIB)),
        ),
        lag,
    ];
    let faults: Vec<(f64, Class)> = faults.iter().map(|one| (one.at, one.kind.class())).collect();
    draw(title, end, &panels, &faults, births)
}

#[cfg(test)]
mod tests {
    use super::{Line, Panel, Scale, draw, thinned};
    use crate::faults::Class;

    #[test]
    fn a_linear_scale_holds_everything_in_three_to_six_round_steps() {
        for most in [0.3, 1.0, 7.0, 10.0, 23.0, 99.0, 101.0, 4_096.0, 123_456.0] {
            let scale = Scale::linear([most / 2.0, most].into_iter());
            let ticks = scale.ticks();
            assert!((3..=7).contains(&ticks.len()), "{most}: {ticks:?}");
            assert!(*ticks.last().unwrap() >= most * 0.999, "{most}: {ticks:?}");
            assert_eq!(
                (scale.share(0.0), scale.share(*ticks.last().unwrap())),
                (0.0, 1.0)
            );
        }
    }

    #[test]
    fn a_log_scale_gives_each_power_the_same_room_and_draws_none_as_one() {
        let scale = Scale::log([0.0, 950.0].into_iter());
        assert_eq!(scale, Scale::Log(1_000.0));
        let shares = [0.0, 1.0, 10.0, 100.0, 1_000.0].map(|value| (scale.share(value) * 3.0).round());
        assert_eq!(shares, [0.0, 0.0, 1.0, 2.0, 3.0]);
        assert_eq!(scale.ticks(), [1.0, 10.0, 100.0, 1_000.0]);
    }

    #[test]
    fn scales_of_nothing_are_scales() {
        for scale in [Scale::linear([].into_iter()), Scale::log([].into_iter())] {
            assert!(
                scale.share(0.0).is_finite() && !scale.ticks().is_empty(),
                "{scale:?}"
            );
        }
    }

    #[test]
    fn thinning_keeps_every_peak_and_the_order() {
        let mut points: Vec<(f64, f64)> = (0..3_600).map(|at| (f64::from(at), 5.0)).collect();
        (points[777].1, points[1_234].1) = (900.0, 0.5);
        let kept = thinned(&points, 300, 3_600.0);
        assert!(kept.len() <= 600, "{}", kept.len());
        assert!(kept.contains(&(777.0, 900.0)) && kept.contains(&(1_234.0, 0.5)));
        assert!(kept.is_sorted_by(|one, other| one.0 < other.0));
    }

    #[test]
    fn everything_is_drawn_within_the_page() {
        let panel = |scale| Panel {
            title: "Memory, MiB",
            scale,
            lines: vec![Line {
                name: "RssAnon",
                points: vec![(0.0, 0.0), (30.0, 12.0), (31.0, 1e9), (70.0, 3.0)],
            }],
            limit: Some(("most", 12.0)),
        };
        let panels = [panel(Scale::Linear(12.0)), panel(Scale::Log(100.0))];
        let drawn = draw(
            "a title",
            60.0,
            &panels,
            &[(5.0, Class::Link), (61.0, Class::Order)],
            &[0.0],
        );
        for word in [
            "a title",
            "Memory, MiB",
            "RssAnon",
            "most",
            "minutes",
            "pause, restart, full sync",
        ] {
            assert!(drawn.contains(word), "{word}");
        }
        let height: f64 = drawn
            .split("0 0 1000 ")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        let numbers = |name: &str| -> Vec<f64> {
            let start = format!(" {name}=\"");
            let parts = drawn.split(&start).skip(1);
            parts
                .map(|part| part.split('"').next().unwrap().parse().unwrap())
                .collect()
        };
        for (name, most) in [
            ("x1", 1_000.0),
            ("x2", 1_000.0),
            ("y1", height),
            ("y2", height),
            ("x", 1_000.0),
            ("y", height),
        ] {
            let all = numbers(name);
            assert!(
                !all.is_empty() && all.iter().all(|at| (0.0..=most).contains(at)),
                "{name}: {all:?}"
            );
        }
        let paths: Vec<&str> = drawn
            .split(" d=\"")
            .skip(1)
            .map(|part| part.split('"').next().unwrap())
            .collect();
        assert_eq!(paths.len(), 2);
        // A point that is beyond the page is drawn at its edge, and a gap in what was measured is one in the line.
        assert!(
            paths
                .iter()
                .all(|path| path.matches('M').count() == 3 && !path.contains("NaN")),
            "{paths:?}"
        );
    }
}
