//! `--run-as`: PROG as another user, who is found before anything is bound, and become after the last thing that needs
//! our own rights.
//!
//! PROG is started by way of ourselves in a hidden mode, which changes its user and becomes PROG by exec. Changing it
//! between fork and exec would take unsafe code, since std has no stable way to set supplementary groups, and would
//! save about as much as it cost: std leaves posix_spawn for it.

use std::fmt;
use std::io;
use std::process::Command;
use std::str::FromStr;

use rustix::process::{Gid, Uid, geteuid, getuid};
use rustix::thread::{
    CapabilitySet, capabilities, clear_ambient_capability_set, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

use crate::cli::{RunAsExec, Serve};
use crate::message::{failed, reason, say};
use crate::prog::{cannot_run, split};
use crate::{exit, prog, users};

/// Who PROG is to be. As text: `UID:GID:GROUP,GROUP,...`, for our own hidden modes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    uid: u32,
    gid: u32,
    /// The supplementary ones, as initgroups(3) has them: `gid` is among them.
    groups: Vec<u32>,
}

impl Identity {
    /// Whom the options name; to be asked before there is a socket.
    pub(crate) fn of(args: &Serve) -> Result<Option<Self>, u8> {
        let identity = args.run_as.as_deref().map(Identity::find).transpose();
        identity.map_err(|why| failed(format_args!("cannot use --run-as: {why}")))
    }

    /// Of `USER[:GROUP]`, and whether we may become it: nothing is to be bound if not.
    fn find(text: &str) -> Result<Self, String> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let account = users::account(user)?;
        let gid = match (group, account.gid) {
            (Some(group), _) => users::gid(group)?,
            (None, Some(gid)) => gid,
            (None, None) => return Err(format!("user {user} has no entry that tells a group; give {user}:GROUP")),
        };
        let groups = account.name.map_or_else(|| vec![gid], |name| users::groups_of(&name, gid));
        let needed = CapabilitySet::SETUID | CapabilitySet::SETGID;
        // Whoever is of our uid may be ended by us.
        let is_ours = [getuid(), geteuid()].contains(&Uid::from_raw(account.uid));
        match capabilities(None) {
            Ok(sets)
                if sets.effective.contains(needed) && !is_ours && !sets.effective.contains(CapabilitySet::KILL) =>
            {
                Err("PROG could not be ended: signals to another user's processes need CAP_KILL".to_owned())
            }
            Ok(sets) if sets.effective.contains(needed) => Ok(Identity { uid: account.uid, gid, groups }),
            Ok(_) => Err("only root may run PROG as another user (CAP_SETUID and CAP_SETGID)".to_owned()),
            Err(errno) => Err(format!("cannot tell our own rights: {}", reason(&errno.into()))),
        }
    }

    /// Groups first, which need the rights that go with the uid. Of a process with one thread: it concerns this alone.
    pub(crate) fn assume(&self) -> io::Result<()> {
        let groups: Vec<Gid> = self.groups.iter().map(|&gid| Gid::from_raw(gid)).collect();
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        set_thread_groups(&groups)?;
        set_thread_res_gid(gid, gid, gid)?;
        if !uid.is_root() {
            // What a service manager gave us beyond a uid; the uid's own rights go with it. Without the call (before
            // Linux 4.3) there are none.
            let _ = clear_ambient_capability_set();
        }
        set_thread_res_uid(uid, uid, uid)?;
        Ok(())
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: Vec<_> = self.groups.iter().map(u32::to_string).collect();
        write!(f, "{}:{}:{}", self.uid, self.gid, groups.join(","))
    }
}

impl FromStr for Identity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "not UID:GID:GROUP,GROUP".to_owned();
        let number = |text: &str| text.parse::<u32>().ok().filter(|&id| id != u32::MAX).ok_or_else(wrong);
        let mut parts = text.split(':');
        let mut part = || parts.next().ok_or_else(wrong);
        let (uid, gid, groups) = (number(part()?)?, number(part()?)?, part()?);
        let groups = groups.split(',').map(number).collect::<Result<_, _>>()?;
        Ok(Identity { uid, gid, groups })
    }
}

/// The hidden half of `serve --run-as`: becomes the user, then PROG. Returns the exit status only if that failed.
pub(crate) fn become_program(args: &RunAsExec) -> u8 {
    if let Err(error) = args.identity.assume() {
        say(format_args!("cannot become the user of --run-as: {}", reason(&error)));
        return exit::CANNOT_RUN;
    }
    let (program, rest) = split(&args.program);
    let mut command = Command::new(program);
    command.args(rest);
    cannot_run(&args.program, &prog::exec(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_the_way_through_a_command_line() {
        let identity = Identity { uid: 33, gid: 7, groups: vec![7, 8, 4_294_967_294] };
        assert_eq!(identity.to_string().parse(), Ok(identity));
        for wrong in ["", "1", "1:2", "1:2:", "x:2:3", "1:2:3,", "4294967295:1:1", "-1:1:1"] {
            assert!(wrong.parse::<Identity>().is_err(), "{wrong}");
        }
    }
}
