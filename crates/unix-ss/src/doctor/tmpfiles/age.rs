//! Ages, in the form of systemd.time(7).

const UNITS: [&str; 30] = [
    "seconds", "second", "sec", "s", "minutes", "minute", "min", "m", "hours", "hour", "hr", "h", "days", "day", "d",
    "weeks", "week", "w", "months", "month", "M", "years", "year", "y", "msec", "ms", "usec", "us", "\u{b5}s",
    "\u{3bc}s",
];

/// `10d`, `~1h 30min`, `abm:5`: could systemd read it? A line with another one it passes over.
pub(super) fn is_valid(age: &str) -> bool {
    let age = age.strip_prefix('~').unwrap_or(age);
    match age.split_once(':') {
        Some((times, span)) => {
            !times.is_empty() && times.chars().all(|time| "abcmABCM".contains(time)) && is_span(span)
        }
        None => is_span(age),
    }
}

/// Nothing gets as old as that.
pub(super) fn is_never(age: &str) -> bool {
    age.trim_start_matches('~').rsplit(':').next().is_some_and(|span| span.trim() == "infinity")
}

fn is_span(span: &str) -> bool {
    let mut rest = span.trim();
    if rest.is_empty() || rest == "infinity" {
        return !rest.is_empty();
    }
    while !rest.is_empty() {
        let number = rest.strip_prefix('+').unwrap_or(rest);
        let after = without_digits(number);
        let unit = match after.strip_prefix('.') {
            Some(fraction) if fraction == without_digits(fraction) => return false,
            Some(fraction) => without_digits(fraction),
            // No number, or one that is too large.
            None if !(1..=19).contains(&(number.len() - after.len())) => return false,
            None => after,
        };
        let unit = unit.trim_start();
        // Of those that it begins with, the longest.
        let names = UNITS.iter().filter_map(|name| unit.strip_prefix(name));
        rest = names.min_by_key(|rest| rest.len()).unwrap_or(unit).trim_start();
    }
    true
}

fn without_digits(text: &str) -> &str {
    text.trim_start_matches(|letter: char| letter.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_what_systemd_takes_for_one() {
        for age in [
            "0",
            "10d",
            "1h 30min",
            "1.5h",
            ".5",
            "+5",
            "5 5",
            "~1s",
            "aB:0",
            "~a:3 weeks",
            "5d3h",
            "infinity",
            "2\u{b5}s",
        ] {
            assert!(is_valid(age), "{age}");
        }
        for age in
            ["", "x", "10dd", "-1", "0.", ".", "0S", "q:0", ":0", "a:", "a:~0", "1s x", "~", "18446744073709551616"]
        {
            assert!(!is_valid(age), "{age}");
        }
        assert!(is_never("~c:infinity") && !is_never("1d"));
    }
}
