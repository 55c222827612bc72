//! What a metric's name says of its unit.

/// Words in names, and the units that they stand for.
const UNITS: [(&[&str], &str); 21] = [
    (&["bytes", "byte"], "B"),
    (&["kb", "kilobytes"], "kB"),
    (&["kib", "kibibytes"], "KiB"),
    (&["mb", "megabytes"], "MB"),
    (&["mib", "mebibytes"], "MiB"),
    (&["gb", "gigabytes"], "GB"),
    (&["gib", "gibibytes"], "GiB"),
    (&["bits"], "bit"),
    (&["percent", "pct", "percentage"], "%"),
    (&["seconds", "secs", "sec"], "s"),
    (&["ms", "msec", "millis", "milliseconds"], "ms"),
    (&["usec", "micros", "microseconds"], "µs"),
    (&["ns", "nanos", "nanoseconds"], "ns"),
    (&["minutes"], "min"),
    (&["hours"], "h"),
    (&["days"], "d"),
    (&["celsius"], "°C"),
    (&["hertz", "hz"], "Hz"),
    (&["mhz"], "MHz"),
    (&["watts"], "W"),
    (&["volts"], "V"),
];

/// Words at the end of a name that say how it counts, not what.
const COUNTING: [&str; 9] =
    ["total", "sum", "avg", "mean", "min", "max", "current", "used", "free"];

/// The unit that a name says: `disk_used_bytes` is in bytes, `reads_per_second` in none that is
/// worth guessing.
pub(super) fn of_name(name: &str) -> Option<&'static str> {
    let words: Vec<String> = name.split('_').map(str::to_ascii_lowercase).collect();
    if words.iter().any(|word| word == "per") {
        return None;
    }
    let (last, before) = words.split_last()?;
    // A name that is nothing but a unit (`seconds`) says as much; `ms` alone may be anything.
    let of = |word: &str| UNITS.iter().find(|(words, _)| words.contains(&word)).map(|(_, u)| *u);
    // `rx_bytes_sec`: bytes each second.
    if of(last) == Some("s") && before.last().is_some_and(|word| of(word).is_some()) {
        return None;
    }
    of(last).filter(|_| !before.is_empty() || last.len() > 3).or_else(|| {
        let (previous, _) = before.split_last()?;
        COUNTING.contains(&last.as_str()).then(|| of(previous)).flatten()
    })
}

/// Words in the names of what is made of several values, and has fractions though each is whole.
const AVERAGES: [&str; 9] =
    ["avg", "mean", "average", "median", "rate", "ratio", "throughput", "per", "sec"];

/// Whether a name says that its values are averages or rates.
pub(super) fn is_average(name: &str) -> bool {
    name.split('_').any(|word| AVERAGES.contains(&word.to_ascii_lowercase().as_str()))
}

/// Whether values in this unit are whole by nature.
pub(super) fn is_whole(unit: &str) -> bool {
    matches!(unit, "B" | "bit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_its_unit_or_nothing() {
        for (name, unit) in [
            ("disk_used_bytes", Some("B")),
            ("net_bytes_total", Some("B")),
            ("backup_age_seconds", Some("s")),
            ("latency_ms", Some("ms")),
            ("Used_Percent", Some("%")),
            ("ms", None),
            ("seconds", Some("s")),
            ("bytes_per_second", None),
            ("rx_bytes_sec", None),
            ("http_seconds_count", None),
            ("about_us", None),
            ("users", None),
            ("", None),
        ] {
            assert_eq!(of_name(name), unit, "{name}");
        }
    }
}
