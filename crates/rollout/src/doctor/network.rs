//! Recognizes file systems of other machines, whose locks may exclude only the processes of this one.

use std::path::Path;

use super::finding::{Finding, FindingKind};
use crate::home::RolloutHome;

/// A file system whose files another machine, or another system on this one, can write as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NetworkFileSystem {
    Nfs,
    Smb,
    /// A program of a user answers for its files: sshfs and others. Some of them are local.
    Fuse,
    /// Plan 9: directories of the host in a virtual machine, and those of Windows in WSL.
    Plan9,
    /// Directories of the host in VirtualBox or Parallels, and those of Windows in the first WSL.
    HostFolder,
    /// Ceph, Lustre, GFS2, OCFS2: made for many machines.
    Cluster,
    Afs,
}

/// Returns the network file system that has this magic number (`f_type` of `statfs`). `None` for a local file system.
///
/// The numbers are those of `linux/magic.h` and of the sources of the file systems.
pub(super) fn by_magic(magic: u32) -> Option<NetworkFileSystem> {
    use NetworkFileSystem::{Afs, Cluster, Fuse, HostFolder, Nfs, Plan9, Smb};
    Some(match magic {
        0x0000_6969 => Nfs,
        0x0000_517b | 0xff53_4d42 | 0xfe53_4d42 => Smb,
        0x6573_5546 => Fuse,
        0x0102_1997 => Plan9,
        0x786f_4256 | 0x7c7c_6673 | 0x5346_4846 => HostFolder,
        0x00c3_6400 | 0x0bd0_0bd0 | 0x0116_1970 | 0x7461_636f => Cluster,
        0x5346_414f | 0x6b41_4653 | 0x7375_7245 => Afs,
        _ => return None,
    })
}

/// A mount, as `/proc/self/mountinfo` describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MountedFileSystem {
    /// The type: `nfs4`, `cifs`, `fuse.sshfs`.
    pub(super) kind: String,
    /// The options of the mount and of the file system.
    pub(super) options: Vec<String>,
}

/// Finds the mount that an absolute path is on: the last one listed of those with the longest path.
pub(super) fn mount_of(mountinfo: &str, path: &Path) -> Option<MountedFileSystem> {
    // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
    let mounts = mountinfo.lines().filter_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let mount: Vec<&str> = mount.split(' ').collect();
        let mut file_system = file_system.split(' ');
        let (kind, options) = (file_system.next()?, file_system.nth(1).unwrap_or_default());
        let point = unescape(mount.get(4)?);
        let options = mount.get(5)?.split(',').chain(options.split(',')).map(str::to_owned).collect();
        path.starts_with(&point).then(|| (point.len(), MountedFileSystem { kind: kind.to_owned(), options }))
    });
    mounts.max_by_key(|(len, _)| *len).map(|(_, mount)| mount)
}

/// Decodes a path of `mountinfo`, in which white space and backslashes are octal numbers.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, character)| text.replace(code, character))
}

/// Returns what the file system is called and what its locks are worth. `None` if it is local after all.
pub(super) fn describe(kind: NetworkFileSystem, mount: Option<&MountedFileSystem>) -> Option<(String, &'static str)> {
    let has = |option: &str| mount.is_some_and(|mount| mount.options.iter().any(|one| one == option));
    let (name, worth) = match kind {
        NetworkFileSystem::Nfs if has("nolock") || has("local_lock=all") || has("local_lock=flock") => {
            ("NFS", "it is mounted with local locks, so that a writer on another machine is not noticed")
        }
        NetworkFileSystem::Nfs => (
            "NFS",
            "locks are kept by the server, and a writer on another machine is noticed if its mount uses them, too",
        ),
        NetworkFileSystem::Smb if has("nobrl") => {
            ("SMB", "it is mounted without locks of the server, so that a writer on another machine is not noticed")
        }
        NetworkFileSystem::Smb => (
            "SMB",
            "locks are kept by the server, and a writer on another machine is noticed if that machine uses them, too",
        ),
        NetworkFileSystem::Fuse => {
            const REMOTE: [&str; 8] =
                ["sshfs", "rclone", "s3fs", "gcsfuse", "davfs", "curlftpfs", "glusterfs", "blobfuse"];
            let kind = mount.map_or("", |mount| mount.kind.as_str());
            // Encrypting and merging file systems of this machine are FUSE, too, and `flock` works among their processes.
            REMOTE.iter().find(|remote| kind.contains(*remote))?;
            ("FUSE", "locks hold on this machine only, so that a writer on another machine is not noticed")
        }
        NetworkFileSystem::Plan9 => {
            ("9p", "locks hold on this side only: a program on the host, or in Windows, is not noticed")
        }
        NetworkFileSystem::HostFolder => {
            ("a folder of the host", "locks hold on this side only: a program of the host is not noticed")
        }
        NetworkFileSystem::Cluster => (
            "a cluster file system",
            "a writer on another machine is noticed if the cluster is mounted with locks everywhere",
        ),
        NetworkFileSystem::Afs => ("AFS", "locks of single files may hold on this machine only"),
    };
    let name = mount.map_or_else(|| name.to_owned(), |mount| format!("{name} ({})", mount.kind));
    Some((name, worth))
}

/// Reports the directories of a home that are on a network file system: the home, in which the locks are, and directories that are
/// links to elsewhere.
pub(super) fn find_network_file_systems(home: &RolloutHome) -> Vec<Finding> {
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found: Vec<(String, Finding)> = Vec::new();
    for dir in [home.root().to_owned(), home.sessions_dir(), home.archived_dir()] {
        let Ok(status) = rustix::fs::statfs(&dir) else { continue };
        // The kernel has 32 bits of it. The field is wider on some machines, and signed on some.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "magic numbers have 32 bits")]
        let Some(kind) = by_magic(status.f_type as u32) else { continue };
        let mount = dir.canonicalize().ok().and_then(|dir| mount_of(&mountinfo, &dir));
        let Some((name, worth)) = describe(kind, mount.as_ref()) else { continue };
        if found.iter().all(|(known, _)| *known != name) {
            let detail = format!("it is on {name}: {worth}; docs/durability.md says what follows from that");
            found.push((name, Finding::new(FindingKind::NetworkFileSystem, dir, detail)));
        }
    }
    found.into_iter().map(|(_, finding)| finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
30 22 0:27 / /home rw,nosuid shared:9 - nfs4 filer:/export/home rw,vers=4.2,hard,proto=tcp,local_lock=none
31 22 0:28 / /scratch rw shared:10 - nfs filer:/scratch rw,vers=3,nolock,local_lock=all
32 22 0:29 / /mnt/with\\040blank rw shared:11 - cifs //server/share rw,vers=3.1.1,nobrl
33 22 0:30 / /mnt/ssh rw,nosuid,nodev shared:12 - fuse.sshfs kim@host:/home rw,user_id=1000
34 22 0:31 / /mnt/c rw,noatime - 9p C:\\134 rw,dirsync,aname=drvfs;path=C:\\;uid=1000
35 22 0:32 / /mnt/plain rw - fuse.gocryptfs /home/kim/cipher rw,user_id=1000
";

    #[test]
    fn a_file_system_of_another_machine_is_recognized_by_its_magic_number() {
        for (magic, expected) in [
            (0x6969, Some(NetworkFileSystem::Nfs)),
            (0x517b, Some(NetworkFileSystem::Smb)),
            (0xff53_4d42, Some(NetworkFileSystem::Smb)),
            (0xfe53_4d42, Some(NetworkFileSystem::Smb)),
            (0x6573_5546, Some(NetworkFileSystem::Fuse)),
            (0x0102_1997, Some(NetworkFileSystem::Plan9)),
            (0x00c3_6400, Some(NetworkFileSystem::Cluster)),
            (0x5346_414f, Some(NetworkFileSystem::Afs)),
            // ext, tmpfs, overlayfs, btrfs, xfs, zfs, apfs in a container: all local.
            (0xef53, None),
            (0x0102_1994, None),
            (0x794c_7630, None),
            (0x9123_683e, None),
            (0x5846_5342, None),
            (0x2fc1_2fc1, None),
        ] {
            assert_eq!(by_magic(magic), expected, "{magic:x}");
        }
    }

    #[test]
    fn what_the_locks_are_worth_depends_on_the_mount() {
        let mount = |path: &str| mount_of(MOUNTS, Path::new(path)).unwrap();
        assert_eq!(mount("/home/kim/.codex").kind, "nfs4");
        assert_eq!(mount("/homes/kim").kind, "ext4");
        let worth = |kind, path: &str| describe(kind, Some(&mount(path)));
        let (name, text) = worth(NetworkFileSystem::Nfs, "/home/kim").unwrap();
        assert!(name == "NFS (nfs4)" && text.contains("kept by the server"), "{name} {text}");
        let (_, text) = worth(NetworkFileSystem::Nfs, "/scratch/kim").unwrap();
        assert!(text.contains("on another machine is not noticed"), "{text}");
        let (name, text) = worth(NetworkFileSystem::Smb, "/mnt/with blank/x").unwrap();
        assert!(name == "SMB (cifs)" && text.contains("not noticed"), "{name} {text}");
        assert!(worth(NetworkFileSystem::Fuse, "/mnt/ssh/x").is_some());
        assert_eq!(worth(NetworkFileSystem::Fuse, "/mnt/plain/x"), None, "a local one");
        assert!(worth(NetworkFileSystem::Plan9, "/mnt/c/Users").unwrap().1.contains("in Windows"));
    }

    #[test]
    fn the_file_systems_of_this_machine_are_told_apart() {
        let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        // The mount that is found is the one of the device that `stat` reports, for every mount point that can be reached.
        let proc = mount_of(&mountinfo, Path::new("/proc/self")).unwrap();
        assert_eq!(proc.kind, "proc");
        assert_eq!(by_magic(u32::try_from(rustix::fs::statfs("/proc").unwrap().f_type).unwrap()), None);
        let dir = tempfile::tempdir().unwrap();
        let home = RolloutHome::new(dir.path());
        let kind = mount_of(&mountinfo, dir.path()).unwrap().kind;
        let is_remote = ["nfs", "cifs", "smb", "9p", "sshfs"].iter().any(|remote| kind.contains(remote));
        assert_eq!(!find_network_file_systems(&home).is_empty(), is_remote, "{kind}");
    }
}
