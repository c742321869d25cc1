//! Users and groups by name or number.
//!
//! Without the C library's resolver, which loads code into the process: the files first, which answer for nearly
//! everybody, then `getent`, which asks wherever else the system keeps its users.

use std::process::{Command, Stdio};

/// A uid for `--owner`.
pub(crate) fn uid(user: &str) -> Result<u32, String> {
    id(user, "user", "passwd")
}

/// A gid for `--group`.
pub(crate) fn gid(group: &str) -> Result<u32, String> {
    id(group, "group", "group")
}

fn id(name: &str, what: &str, database: &str) -> Result<u32, String> {
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
        // The largest means "leave it" to chown(2), so it is nobody's.
        return match name.parse::<u32>() {
            Ok(id) if id != u32::MAX => Ok(id),
            _ => Err(format!("there is no {what} {name}: the largest number is {}", u32::MAX - 1)),
        };
    }
    in_file(name, database)
        .or_else(|| from_getent(name, database))
        .ok_or_else(|| format!("there is no {what} '{name}'; see `getent {database}`, or give the number"))
}

fn in_file(name: &str, database: &str) -> Option<u32> {
    let file = std::fs::read(format!("/etc/{database}")).ok()?;
    find(&String::from_utf8_lossy(&file), name)
}

fn from_getent(name: &str, database: &str) -> Option<u32> {
    let answer = Command::new("getent")
        .args(["--", database, name])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|answer| answer.status.success())?;
    find(&String::from_utf8_lossy(&answer.stdout), name)
}

/// `name:password:id:...`, in passwd(5) and group(5) alike.
fn find(lines: &str, name: &str) -> Option<u32> {
    lines.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_a_line_of_its_own() {
        let file = "root:x:0:0::/root:/bin/sh\nroo:x:7:7::/:/bin/sh\n+::::::\n";
        assert_eq!(find(file, "root"), Some(0));
        assert_eq!(find(file, "roo"), Some(7));
        assert_eq!(find(file, "ro"), None);
        assert_eq!(find(file, "+"), None);
    }

    #[test]
    fn numbers_need_no_look_up_and_the_largest_is_nobody() {
        assert_eq!(uid("4294967294"), Ok(u32::MAX - 1));
        assert!(uid("4294967295").is_err());
        assert!(gid("99999999999").is_err());
        assert!(gid("").is_err());
    }
}
