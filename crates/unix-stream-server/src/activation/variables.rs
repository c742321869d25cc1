//! What the environment says of sockets handed in: sd_listen_fds(3), and a variable of our own for the duty.
//!
//! Pure: what the variables are and who reads them is given, so that every value can be tried.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// SD_LISTEN_FDS_START of sd_listen_fds(3).
pub(crate) const FIRST: i32 = 3;

/// What a descriptor is called where LISTEN_FDNAMES is not set: sd_listen_fds_with_names(3).
const NO_NAME: &str = "unknown";

const PID: &str = "LISTEN_PID";
const PIDFD_ID: &str = "LISTEN_PIDFDID";
const FDS: &str = "LISTEN_FDS";
const FD_NAMES: &str = "LISTEN_FDNAMES";
pub(crate) const OWNED_PATH: &str = "UNIX_SS_OWNED_PATH";

/// The variables as they are; `None`: not set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variables {
    pub(crate) pid: Option<OsString>,
    pub(crate) pidfd_id: Option<OsString>,
    pub(crate) fds: Option<OsString>,
    pub(crate) fd_names: Option<OsString>,
    pub(crate) owned_path: Option<OsString>,
}

/// What was handed to this process.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Handed {
    /// How many descriptors, from [`FIRST`] on. Not yet looked at: any number that the variable can say.
    pub(crate) count: i32,
    /// As many names, where there are names.
    names: Option<Vec<String>>,
    /// The path that is to be removed at the end, by whoever got its socket.
    pub(crate) owned_path: Option<PathBuf>,
}

impl Handed {
    /// The numbers and their names.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = (i32, &str)> {
        (0..self.count).map(|index| {
            let name = self.names.as_ref().zip(usize::try_from(index).ok()).and_then(|(names, at)| names.get(at));
            (FIRST + index, name.map_or(NO_NAME, String::as_str))
        })
    }
}

impl Variables {
    pub(crate) fn read() -> Self {
        Variables {
            pid: env::var_os(PID),
            pidfd_id: env::var_os(PIDFD_ID),
            fds: env::var_os(FDS),
            fd_names: env::var_os(FD_NAMES),
            owned_path: env::var_os(OWNED_PATH),
        }
    }

    /// What they hand to process `pid`; nothing if they are not set, or are another process's, which a child inherits
    /// from a server that was activated. `pidfd_id`: the number that no later process of this id will have, where the
    /// kernel has such. The error says which variable is wrong, and how.
    pub(crate) fn handed_to(&self, pid: u32, pidfd_id: impl FnOnce() -> Option<u64>) -> Result<Option<Handed>, String> {
        let (Some(meant_for), Some(fds)) = (&self.pid, &self.fds) else { return Ok(None) };
        match number(meant_for).filter(|&meant_for| meant_for > 0 && i32::try_from(meant_for).is_ok()) {
            None => return Err(malformed(PID, meant_for, "a process id")),
            Some(meant_for) if meant_for != u64::from(pid) => return Ok(None),
            Some(_) => {}
        }
        if let Some(meant_for) = &self.pidfd_id {
            let meant_for = number(meant_for).ok_or_else(|| malformed(PIDFD_ID, meant_for, "the number of a pidfd"))?;
            if pidfd_id().is_some_and(|id| id != meant_for) {
                return Ok(None); // a process id that was given again
            }
        }
        let count = number(fds).and_then(|count| i32::try_from(count).ok()).filter(|&count| count <= i32::MAX - FIRST);
        let count = count.ok_or_else(|| malformed(FDS, fds, "a number of descriptors"))?;
        let names = self.fd_names.as_ref().filter(|_| count > 0).map(|names| split(names, count)).transpose()?;
        let owned_path = self.owned_path.as_ref().map(|path| absolute(path)).transpose()?;
        Ok(Some(Handed { count, names, owned_path }))
    }
}

/// Digits and nothing else: no sign, no space, and no second way to write a number.
fn number(text: &OsStr) -> Option<u64> {
    let text = text.to_str()?;
    text.bytes().all(|c| c.is_ascii_digit()).then(|| text.parse().ok())?
}

fn split(names: &OsStr, count: i32) -> Result<Vec<String>, String> {
    let text = names.to_str().ok_or_else(|| malformed(FD_NAMES, names, "text"))?;
    // Counted before they are copied.
    if i32::try_from(text.split(':').count()) != Ok(count) {
        return Err(malformed(FD_NAMES, names, &format!("{count} names with colons between them")));
    }
    Ok(text.split(':').map(str::to_owned).collect())
}

fn absolute(path: &OsStr) -> Result<PathBuf, String> {
    let path = Path::new(path);
    let can_name_a_socket = crate::place::check(path, "").is_ok();
    if path.is_absolute() && can_name_a_socket {
        Ok(path.to_owned())
    } else {
        Err(malformed(OWNED_PATH, path.as_os_str(), "the absolute path of a socket"))
    }
}

fn malformed(variable: &str, value: &OsStr, wanted: &str) -> String {
    const SHOWN: usize = 64;
    let shown = String::from_utf8_lossy(value.as_bytes().get(..SHOWN).unwrap_or(value.as_bytes()));
    let dots = if value.len() > SHOWN { "..." } else { "" };
    format!(
        "{variable} is `{shown}{dots}`, which is not {wanted}; nothing was taken; have whoever starts this set it right, or not at all"
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variables(pid: &str, fds: &str, names: Option<&str>) -> Variables {
        Variables {
            pid: Some(pid.into()),
            fds: Some(fds.into()),
            fd_names: names.map(Into::into),
            ..Variables::default()
        }
    }

    fn handed(variables: &Variables) -> Result<Option<Handed>, String> {
        variables.handed_to(77, || Some(5))
    }

    fn names(variables: &Variables) -> Vec<(i32, String)> {
        let handed = handed(variables).expect("well-formed").expect("ours");
        handed.descriptors().map(|(number, name)| (number, name.to_owned())).collect()
    }

    #[test]
    fn what_is_handed_to_us_has_numbers_and_names() {
        let pair = |number, name: &str| (number, name.to_owned());
        assert_eq!(names(&variables("77", "2", None)), [pair(3, "unknown"), pair(4, "unknown")]);
        assert_eq!(names(&variables("77", "2", Some("web:"))), [pair(3, "web"), pair(4, "")]);
        assert_eq!(names(&variables("77", "0", Some(""))), []);
        assert_eq!(names(&variables("077", "01", Some("web"))), [pair(3, "web")]);
    }

    #[test]
    fn no_variables_or_another_processs_are_nothing_and_no_error() {
        assert_eq!(handed(&Variables::default()), Ok(None));
        assert_eq!(handed(&Variables { pid: None, ..variables("77", "junk", None) }), Ok(None));
        assert_eq!(handed(&Variables { fds: None, ..variables("77", "", None) }), Ok(None));
        assert_eq!(handed(&variables("78", "junk", Some("a:b:c"))), Ok(None));
    }

    #[test]
    fn the_number_of_a_pidfd_tells_a_process_id_that_was_given_again() {
        let with = |id: &str| Variables { pidfd_id: Some(id.into()), ..variables("77", "1", None) };
        assert!(matches!(handed(&with("5")), Ok(Some(_))));
        assert_eq!(handed(&with("6")), Ok(None));
        assert!(matches!(with("6").handed_to(77, || None), Ok(Some(_))), "a kernel without such numbers");
        assert!(handed(&with("x")).is_err_and(|why| why.starts_with("LISTEN_PIDFDID is `x`")));
    }

    #[test]
    fn what_is_malformed_is_named() {
        for pid in ["", "0", "-77", "+77", " 77", "77 ", "0x4d", "2147483648", "99999999999999999999"] {
            let why = handed(&variables(pid, "1", None)).expect_err(pid);
            assert!(why.starts_with(&format!("LISTEN_PID is `{pid}`")), "{why}");
        }
        for fds in ["", "-1", "+1", "1.0", "one", "2147483645", "4294967297"] {
            let why = handed(&variables("77", fds, None)).expect_err(fds);
            assert!(why.starts_with(&format!("LISTEN_FDS is `{fds}`")), "{why}");
        }
        for (fds, fd_names) in [("1", "a:b"), ("2", "a"), ("3", "")] {
            let why = handed(&variables("77", fds, Some(fd_names))).expect_err(fds);
            assert!(why.starts_with("LISTEN_FDNAMES is ") && why.contains(&format!("not {fds} names")), "{why}");
        }
        for path in ["", "s", "./s", "/", "/run/", "/run/..", "/run/."] {
            let owned = Variables { owned_path: Some(path.into()), ..variables("77", "1", None) };
            let why = handed(&owned).expect_err(path);
            assert!(why.starts_with(&format!("UNIX_SS_OWNED_PATH is `{path}`")), "{why}");
        }
    }

    /// A value of a variable: right, nearly right, or anything.
    fn value() -> impl Strategy<Value = Option<OsString>> {
        let bytes =
            proptest::collection::vec(any::<u8>(), 0..90).prop_map(|bytes| OsStr::from_bytes(&bytes).to_owned());
        let text =
            prop_oneof!["[0-9:+ -]{0,12}", "77", "[0-3]", "/[a-z/.]{0,9}", "[a-z:]{0,6}"].prop_map(OsString::from);
        prop_oneof![1 => Just(None), 4 => text.prop_map(Some), 1 => bytes.prop_map(Some)]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_values_make_it_panic_and_what_is_taken_fits_together(
            pid in value(), pidfd_id in value(), fds in value(), fd_names in value(), owned_path in value(),
        ) {
            let variables = Variables { pid: pid.clone(), pidfd_id, fds, fd_names, owned_path };
            match handed(&variables) {
                Ok(Some(handed)) => {
                    prop_assert_eq!(pid.as_deref().and_then(number), Some(77));
                    prop_assert!((0..=i32::MAX - FIRST).contains(&handed.count));
                    prop_assert!(handed.names.as_ref().is_none_or(|names| i32::try_from(names.len()) == Ok(handed.count)));
                    prop_assert!(handed.owned_path.as_ref().is_none_or(|path| path.is_absolute()));
                    prop_assert!(handed.descriptors().take(4).all(|(number, _)| number >= FIRST));
                }
                Ok(None) => {}
                Err(why) => prop_assert!(why.contains(" is `") && why.len() < 600, "{}", why),
            }
        }
    }
}
