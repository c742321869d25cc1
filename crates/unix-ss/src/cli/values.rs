//! The values of options: what is taken, and what is said of the rest.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};

/// Also an empty one, which clap would call missing: the library says what is wrong with it.
pub(super) fn any_path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// A whole number and its unit, or 0.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let unit = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let number: u64 = number.parse().map_err(|_| "give a whole number and a unit, such as 500ms or 5s")?;
    let seconds = |each: u64| number.checked_mul(each).map(Duration::from_secs).ok_or("that is too long");
    Ok(match unit {
        "us" => Duration::from_micros(number),
        "ms" => Duration::from_millis(number),
        "s" => seconds(1)?,
        "m" => seconds(60)?,
        "h" => seconds(3600)?,
        _ => return Err("give the unit: us, ms, s, m or h".to_owned()),
    })
}

pub(super) fn mode(text: &str) -> Result<u32, String> {
    let octal = !text.is_empty() && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    match u32::from_str_radix(text, 8) {
        Ok(mode @ 0..=0o777) if octal => Ok(mode),
        _ => Err("give octal permission bits, from 0 to 777".to_owned()),
    }
}

/// What sd_listen_fds_with_names(3) takes: LISTEN_FDNAMES is a list with colons between.
pub(super) fn fd_name(text: &str) -> Result<String, String> {
    let fits = (1..=255).contains(&text.len()) && text.bytes().all(|c| (b' '..=b'~').contains(&c) && c != b':');
    if fits { Ok(text.to_owned()) } else { Err("give 1 to 255 printable ASCII characters, no colon".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_a_whole_number_and_a_unit_or_0() {
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert_eq!(duration("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(duration("7ms"), Ok(Duration::from_millis(7)));
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        for wrong in
            ["", "5", "s", "-1s", "+1s", "1.5s", "1 s", "1S", "5sec", "99999999999999999999s", "9999999999999999999h"]
        {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn modes_are_octal_permission_bits() {
        assert_eq!(mode("600"), Ok(0o600));
        assert_eq!(mode("0660"), Ok(0o660));
        assert_eq!(mode("0"), Ok(0));
        for wrong in ["", "8", "+7", "1777", "0o600", "rw", "-1"] {
            assert!(mode(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_for_the_descriptor_has_no_colon() {
        assert!(fd_name("http").is_ok());
        for wrong in ["", "a:b", "a\nb", "\u{e9}"] {
            assert!(fd_name(wrong).is_err(), "{wrong}");
        }
    }
}
