//! A disk that is full.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Home, message};

/// A small file system, which is unmounted at the end.
struct Tmpfs(PathBuf);

impl Tmpfs {
    #[expect(clippy::print_stderr, reason = "what is skipped has to be seen")]
    fn mount(path: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "selvedge-test"])
            .arg(path)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(path.to_path_buf())),
            _ => {
                eprintln!("SKIPPED: a tmpfs cannot be mounted here (it takes root), so the full disk was not tested");
                None
            }
        }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Writes a file until the disk is full.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    while file.write(&[0; 512]).is_ok_and(|written| written > 0) {}
}

#[test]
fn a_full_disk_is_reported_and_loses_nothing() {
    for mode in ["paginated", "legacy"] {
        let home = Home::missing();
        let Some(_disk) = Tmpfs::mount(&home.path(), "640k") else { return };
        let id = home.new_thread(&["--mode", mode]);
        let ballast = home.path().join("ballast");
        fs::write(&ballast, vec![0; 64 << 10]).unwrap();
        let long = "x".repeat(700);
        let stream: String = (1..=1000).map(|number| message(&format!("{number} {long}"))).collect();
        let run = home.append(&id, stream);
        assert_eq!(run.code, 1, "{}", run.err);
        assert!(run.err.starts_with("error: line ") && run.err.contains("No space left"), "{}", run.err);
        let acknowledged = run.out.lines().count();
        let numbers = || -> Vec<usize> {
            home.texts(&id).iter().filter_map(|text| text.split(' ').next()?.parse().ok()).collect()
        };
        assert!(acknowledged > 50, "{acknowledged}");
        assert!(numbers().into_iter().eq(1..=acknowledged), "{mode}: {} of {acknowledged}", numbers().len());
        // Reading works. Every write fails with the reason.
        assert_eq!(home.run(&["show", &id]).code, 0);
        assert_eq!(home.json(&["list"]).as_array().unwrap().len(), 1);
        // Closing the index freed some space.
        fill(&home.path().join("filling"));
        let run = home.run(&["fork", &id]);
        assert!(run.code == 1 && run.err.contains("No space left"), "{run:?}");
        let run = home.run(&["export", &id, "-o", home.path().join("copy").to_str().unwrap()]);
        assert!(run.code == 1 && run.err.contains("No space left"), "{run:?}");
        assert!(!home.path().join("copy").exists());
        fs::remove_file(home.path().join("filling")).unwrap();
        fs::remove_file(&ballast).unwrap();
        assert_eq!(home.append(&id, message("999 after")).code, 0);
        assert!(numbers().into_iter().eq((1..=acknowledged).chain([999])), "{mode}");
        assert_eq!(home.json(&["list"]).as_array().unwrap().len(), 1);
    }
}
