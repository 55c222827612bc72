//! Figures in five columns or fewer.

/// Seconds: `400µs`, `4.2ms`, `1.2s`, `12s`, `3m05`, `2h14`, `3d04`, `400d`.
pub(crate) fn seconds(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match seconds {
        s if s <= 0.0 => "0s".to_owned(),
        s if s < 0.000_999_5 => format!("{:.0}µs", s * 1e6),
        s if s < 0.009_95 => format!("{:.1}ms", s * 1e3),
        s if s < 0.999_5 => format!("{:.0}ms", s * 1e3),
        s if s < 9.95 && s.fract() != 0.0 => format!("{s:.1}s"),
        _ => match whole {
            w if w < 60 => format!("{w}s"),
            w if w < 3600 => format!("{}m{:02}", w / 60, w % 60),
            w if w < 86_400 => format!("{}h{:02}", w / 3600, w % 3600 / 60),
            w if w < 100 * 86_400 => format!("{}d{:02}", w / 86_400, w % 86_400 / 3600),
            w => format!("{}d", w / 86_400),
        },
    }
}

/// A time to wait, to the second: `12s`, `3m05`; `due` where it is over.
pub(crate) fn countdown(left: f64) -> String {
    if left <= 0.0 { "due".to_owned() } else { seconds(left.ceil()) }
}

/// Bytes: `812`, `3.2k`, `120M`.
pub(crate) fn bytes(n: u64) -> String {
    scaled(n as f64)
}

/// A count: `812`, `12k`, `1.2M`.
pub(crate) fn count(n: u64) -> String {
    if n < 100_000 { n.to_string() } else { scaled(n as f64) }
}

fn scaled(mut value: f64) -> String {
    if value < 999.5 {
        return format!("{value:.0}");
    }
    for unit in ["k", "M", "G", "T", "P"] {
        value /= 1000.0;
        if value < 9.95 {
            return format!("{value:.1}{unit}");
        }
        if value < 999.5 {
            return format!("{value:.0}{unit}");
        }
    }
    "many".to_owned()
}

/// The columns of a sparkline, at most `columns` of the newest values; the largest is full height.
pub(crate) fn sparkline(values: &[f64], columns: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = &values[values.len().saturating_sub(columns)..];
    let most = shown.iter().copied().fold(0.0, f64::max);
    let least = shown.iter().copied().fold(0.0, f64::min);
    let bar = |value: &f64| {
        let part = if most > least { (value - least) / (most - least) } else { 0.0 };
        BARS[((part * 8.0) as usize).min(7)]
    };
    shown.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_at_every_size() {
        let shown = [
            (0.0, "0s"),
            (0.000_4, "400µs"),
            (0.004_2, "4.2ms"),
            (0.12, "120ms"),
            (3.0, "3s"),
            (3.04, "3.0s"),
            (0.999_9, "1.0s"),
            (12.4, "12s"),
            (185.0, "3m05"),
            (8040.0, "2h14"),
            (273_600.0, "3d04"),
            (4e7, "462d"),
        ];
        for (value, wanted) in shown {
            assert_eq!(seconds(value), wanted);
        }
        let mut value = 1e-7;
        while value < 1e8 {
            assert!(seconds(value).chars().count() <= 5, "{value}: {}", seconds(value));
            value *= 1.01;
        }
        for n in (0..64).map(|shift| u64::MAX >> shift) {
            assert!(bytes(n).len() <= 4 && count(n).len() <= 5, "{n}");
        }
        assert_eq!([countdown(-1.0), countdown(0.2), countdown(11.1)], ["due", "1s", "12s"]);
        assert_eq!([bytes(999), bytes(3200), bytes(120_000_000)], ["999", "3.2k", "120M"]);
    }

    #[test]
    fn a_sparkline_shows_the_newest_values() {
        assert_eq!(sparkline(&[9.0, 0.0, 1.0, 2.0, 4.0], 4), "▁▃▅█");
        assert_eq!(sparkline(&[-4.0, 0.0, 4.0], 9), "▁▅█");
        assert_eq!(sparkline(&[3.0, 3.0], 9), "██");
        assert_eq!(sparkline(&[], 9), "");
        assert_eq!(sparkline(&[0.0], 9), "▁");
    }
}
