//! Users and groups by name or number.
//!
//! Without the C library's resolver, which loads code into the process: the files first, which answer for nearly
//! everybody, then `getent`, which asks wherever else the system keeps its users.

use std::process::{Command, Stdio};

/// A uid, for `--owner` and the like.
pub(crate) fn uid(user: &str) -> Result<u32, String> {
    id(user, "user", "passwd")
}

/// A gid, for `--group` and the like.
pub(crate) fn gid(group: &str) -> Result<u32, String> {
    id(group, "group", "group")
}

/// A user, as passwd(5) has him; a number need not have an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: Option<String>,
    pub(crate) uid: u32,
    pub(crate) gid: Option<u32>,
}

/// A user for `--run-as`.
pub(crate) fn account(user: &str) -> Result<Account, String> {
    let uid = uid(user)?;
    let read = |lines: &str| find_account(lines, uid, user);
    let file = std::fs::read("/etc/passwd").unwrap_or_default();
    let found = read(&String::from_utf8_lossy(&file)).or_else(|| read(&getent("passwd", user)?));
    Ok(found.unwrap_or(Account { name: None, uid, gid: None }))
}

/// The groups that a user's processes have, as initgroups(3) finds them: those he is a member of, and `gid`.
pub(crate) fn groups_of(name: &str, gid: u32) -> Vec<u32> {
    let file = std::fs::read("/etc/group").unwrap_or_default();
    let mut groups = memberships(&String::from_utf8_lossy(&file), name);
    // Groups may be kept elsewhere too. A line reads `name  1000 4 24`.
    if let Some(answer) = getent("initgroups", name) {
        groups.extend(answer.split_whitespace().skip(1).filter_map(|id| id.parse::<u32>().ok()));
    }
    groups.push(gid);
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// By uid, under the name asked for if he has several.
fn find_account(lines: &str, uid: u32, user: &str) -> Option<Account> {
    let of_uid = |line: &str| {
        let mut fields = line.split(':');
        let (name, _, id, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let account = Account { name: Some(name.to_owned()), uid, gid: gid.parse().ok() };
        (id.parse() == Ok(uid)).then_some(account)
    };
    let all = || lines.lines().filter_map(of_uid);
    all().find(|account| account.name.as_deref() == Some(user)).or_else(|| all().next())
}

/// `group:password:id:member,member`, of group(5).
fn memberships(lines: &str, name: &str) -> Vec<u32> {
    let of_line = |line: &str| {
        let mut fields = line.split(':').skip(2);
        let (id, members) = (fields.next()?, fields.next()?);
        members.split(',').any(|member| member == name).then(|| id.parse().ok())?
    };
    lines.lines().filter_map(of_line).collect()
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
    find(&getent(database, name)?, name)
}

fn getent(database: &str, name: &str) -> Option<String> {
    let answer = Command::new("getent")
        .args(["--", database, name])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|answer| answer.status.success())?;
    Some(String::from_utf8_lossy(&answer.stdout).into_owned())
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
    fn an_account_is_found_by_its_uid_under_the_name_asked_for() {
        let file = "a:x:7:70::/:/bin/sh\nb:x:7:71::/:/bin/sh\nbroken:x:7\n";
        let found = |user| find_account(file, 7, user).map(|account| (account.name.expect("a name"), account.gid));
        assert_eq!(found("b"), Some(("b".to_owned(), Some(71))));
        assert_eq!(found("7"), Some(("a".to_owned(), Some(70))));
        assert_eq!(find_account(file, 8, "a"), None);
    }

    #[test]
    fn groups_are_those_with_the_name_among_their_members() {
        let file = "adm:x:4:syslog,ann\nann:x:1000:\nanna:x:5:anna\ncdrom:x:24:ann\nbroken:x:ann\n";
        assert_eq!(memberships(file, "ann"), [4, 24]);
        assert!(memberships(file, "bob").is_empty());
    }

    #[test]
    fn numbers_need_no_look_up_and_the_largest_is_nobody() {
        assert_eq!(uid("4294967294"), Ok(u32::MAX - 1));
        assert!(uid("4294967295").is_err());
        assert!(gid("99999999999").is_err());
        assert!(gid("").is_err());
    }
}
