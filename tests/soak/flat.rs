//! Whether a measure grows.
//!
//! The rule: of one life of the process, without its first minute, and of the samples at which the target had caught up, the median of the last quarter of
//! the time is at most `factor` times the median of the second quarter plus `slack`; nor does it climb: where each quarter is higher than the one before by more
//! than a quarter of `slack`, the last step is less than half of the first. A single sample never decides. Lives are not compared with each other, and what
//! a process takes while it is behind is not what it takes at rest; so the longest life is judged, which the run sees to is most of it.

/// What a process needs until its buffers are as large as they get.
const WARM_UP_S: f64 = 60.0;

/// So many samples of a quarter are a judgement.
const SAMPLES_MIN: usize = 30;

/// How much more is still the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    pub factor: f64,
    pub slack: f64,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    Flat(Medians),
    /// More than the rule allows, or by steps that do not become smaller.
    Grows(Medians),
    /// There is too little of it.
    TooShort,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Medians {
    /// Of each quarter of the time.
    pub quarters: [f64; 4],
    /// The most that the last may be.
    pub limit: f64,
}

impl Rule {
    /// Judges a series of times, in seconds, and values.
    pub fn judge(self, series: &[(f64, f64)]) -> Verdict {
        let Some(medians) = self.medians(series) else {
            return Verdict::TooShort;
        };
        match medians.quarters[3] > medians.limit || self.climbs(medians.quarters) {
            false => Verdict::Flat(medians),
            true => Verdict::Grows(medians),
        }
    }

    /// A leak goes on as it began; what fills up does so by less and less.
    fn climbs(self, quarters: [f64; 4]) -> bool {
        let steps = [0, 1, 2].map(|at| quarters[at + 1] - quarters[at]);
        steps.iter().all(|step| *step > self.slack / 4.0) && steps[2] >= steps[0] / 2.0
    }

    fn medians(self, series: &[(f64, f64)]) -> Option<Medians> {
        let warm = settled(series);
        let (from, to) = (warm.first()?.0, warm.last()?.0);
        let quarter = (to - from) / 4.0;
        let within = |number: f64| -> Option<f64> {
            let (start, end) = (from + number * quarter, from + (number + 1.0) * quarter);
            let values = warm.iter().filter(|(at, _)| (start..=end).contains(at));
            let values: Vec<f64> = values.map(|(_, value)| *value).collect();
            (values.len() >= SAMPLES_MIN).then(|| rank(&values, 0.5))
        };
        let quarters = [within(0.0)?, within(1.0)?, within(2.0)?, within(3.0)?];
        Some(Medians {
            quarters,
            limit: quarters[1] * self.factor + self.slack,
        })
    }
}

/// Without the first minute.
fn settled(series: &[(f64, f64)]) -> &[(f64, f64)] {
    let Some((start, _)) = series.first() else {
        return series;
    };
    let warm = series.partition_point(|(at, _)| *at < start + WARM_UP_S);
    &series[warm..]
}

/// The value below which this share of them lies.
pub fn rank(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1) as f64;
    sorted
        .get((last * share).round() as usize)
        .copied()
        .unwrap_or(0.0)
}

/// The median of the slopes between any two of the samples after the first minute, an hour: what single ones do does not show.
pub fn slope_an_hour(series: &[(f64, f64)]) -> f64 {
    let warm = settled(series);
    let thinned: Vec<_> = warm.iter().step_by(1 + warm.len() / 400).collect();
    let mut slopes = Vec::new();
    for (number, one) in thinned.iter().enumerate() {
        let later = thinned[number + 1..].iter().filter(|other| other.0 > one.0);
        slopes.extend(later.map(|other| (other.1 - one.1) / (other.0 - one.0) * 3_600.0));
    }
    rank(&slopes, 0.5)
}

#[cfg(test)]
mod tests {
    use super::{Rule, Verdict, rank, slope_an_hour};

    const RULE: Rule = Rule {
        factor: 1.15,
        slack: 8.0,
    };

    /// Half an hour of noise about what `value` says for a second.
    fn noisy(value: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut one = |second: u32| {
            let at = f64::from(second);
            (at, value(at) * (0.95 + 0.1 * rng.f64()))
        };
        (0..1_800).map(&mut one).collect()
    }

    fn grows(series: &[(f64, f64)]) -> bool {
        matches!(RULE.judge(series), Verdict::Grows(_))
    }

    #[test]
    fn what_stays_is_flat() {
        let steady = noisy(|_| 60.0);
        assert!(matches!(RULE.judge(&steady), Verdict::Flat(_)));
        assert!(slope_an_hour(&steady).abs() < 2.0);
    }

    #[test]
    fn a_planted_leak_is_refused() {
        // 60 to begin with, and as much again within the half hour: 40 from the middle of the second quarter to that of the last.
        let leaking = noisy(|at| 60.0 + at / 1_800.0 * 80.0);
        assert!(grows(&leaking), "{:?}", RULE.judge(&leaking));
        assert!((150.0..170.0).contains(&slope_an_hour(&leaking)));
    }

    #[test]
    fn a_slow_leak_is_refused_by_its_even_steps() {
        // 2.5 in each quarter, which is within what the last may be above the second.
        let leaking = noisy(|at| 20.0 + at / 1_800.0 * 10.0);
        let Verdict::Grows(medians) = RULE.judge(&leaking) else {
            panic!("{:?}", RULE.judge(&leaking));
        };
        assert!(medians.quarters[3] < medians.limit, "{medians:?}");
    }

    #[test]
    fn what_fills_up_by_less_and_less_is_flat() {
        let filling = noisy(|at| 60.0 - 30.0 * (-at / 500.0).exp());
        assert!(!grows(&filling), "{:?}", RULE.judge(&filling));
    }

    #[test]
    fn a_leak_that_comes_late_is_refused() {
        assert!(grows(&noisy(|at| 60.0 + f64::max(0.0, at - 1_300.0) / 4.0)));
    }

    #[test]
    fn growth_within_the_first_minute_is_no_leak() {
        let filling = noisy(|at| 60.0 * f64::min(1.0, at / 60.0));
        assert!(!grows(&filling), "{:?}", RULE.judge(&filling));
    }

    #[test]
    fn single_peaks_decide_nothing() {
        let peaks = noisy(|at| if at as u64 % 5 == 4 { 900.0 } else { 60.0 });
        assert!(!grows(&peaks), "{:?}", RULE.judge(&peaks));
    }

    #[test]
    fn too_few_samples_are_no_judgement() {
        assert_eq!(RULE.judge(&[]), Verdict::TooShort);
        assert_eq!(RULE.judge(&noisy(|_| 60.0)[..120]), Verdict::TooShort);
    }

    #[test]
    fn medians_are_those_of_each_quarter() {
        // The first minute goes; what is left begins at 60 and has quarters of 100.
        let steps: Vec<(f64, f64)> = (0..=460)
            .map(|at| {
                (
                    f64::from(at),
                    (f64::from(at - 60) / 100.0).floor().clamp(0.0, 3.0),
                )
            })
            .collect();
        let Verdict::Flat(medians) = RULE.judge(&steps) else {
            panic!("{:?}", RULE.judge(&steps));
        };
        assert_eq!(medians.quarters, [0.0, 1.0, 2.0, 3.0]);
        assert!((medians.limit - 9.15).abs() < 1e-9);
    }

    #[test]
    fn ranks_are_found_in_any_order() {
        assert_eq!(rank(&[5.0, 1.0, 4.0, 2.0, 3.0], 0.5), 3.0);
        assert_eq!(rank(&[5.0, 1.0], 1.0), 5.0);
        assert_eq!(rank(&[], 0.5), 0.0);
    }
}
