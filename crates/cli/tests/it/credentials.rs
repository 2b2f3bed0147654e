//! Credentials in the URL of a repository: they stay in the log, and nothing shows them.

use std::fs;

use crate::support::Home;

const URLS: [&str; 4] = [
    "https://user:s3cret@host.org/owner/name.git",
    "https://s3cret@host.org/owner/name",
    "ssh://git:s3cret@host.org/owner/name.git",
    "https://host.org/owner/name?access_token=s3cret",
];

fn id(n: usize) -> String {
    format!("01a1fd5d-0000-7000-8000-{n:012}")
}

fn log(n: usize, url: &str) -> String {
    let id = id(n);
    let head = format!(
        r#"{{"timestamp":"2026-11-21T09:00:00.000Z","type":"session_meta","payload":{{"id":"{id}","timestamp":"2026-11-21T09:00:00.000Z","cwd":"/srv","git":{{"branch":"main","repository_url":"{url}"}}}}}}"#
    );
    let message = r#"{"timestamp":"2026-11-21T09:00:01.000Z","type":"event_msg","payload":{"type":"user_message","message":"hello heron"}}"#;
    let patch = format!(
        r#"{{"timestamp":"2026-11-21T09:00:02.000Z","type":"thread_metadata","payload":{{"thread_id":"{id}","patch":{{"git":{{"repository_url":"{url}"}}}}}}}}"#
    );
    format!("{head}\n{message}\n{patch}\n")
}

fn home() -> Home {
    let home = Home::empty();
    for (n, url) in URLS.iter().enumerate() {
        home.write(&id(n), log(n, url).as_bytes());
    }
    home
}

#[test]
fn no_verb_shows_the_credentials_of_a_repository() {
    let home = home();
    home.ok(&["index", "rebuild"]);
    let first = id(0);
    for index in [&["--index", "off"][..], &[]] {
        for args in [
            &["list", "--all"][..],
            &["list", "--json"],
            &["show", &first],
            &["show", &first, "--json"],
            &["search", "heron"],
            &["search", "heron", "--json"],
            &["stats", "--by", "project"],
            &["stats", "--by", "project", "--json"],
            &["tree"],
            &["context", &first, "--json"],
            &["doctor", "--deep"],
            &["doctor", "--deep", "--json"],
            &["index", "status", "--json"],
        ] {
            let run = home.run(&[index, args].concat());
            assert!(!run.out.contains("s3cret") && !run.err.contains("s3cret"), "{args:?} {index:?}: {run:?}");
        }
        let listed = home.json(&[index, &["list"]].concat());
        assert!(listed.to_string().contains("https://host.org/owner/name.git"), "{listed}");
        // One repository, however its URL is written and whatever a person types.
        let stats = home.json(&[index, &["stats", "--by", "project"]].concat());
        assert_eq!(stats["groups"].as_array().unwrap().len(), 1, "{stats}");
        for wanted in ["https://host.org/owner/name", "https://other:token@host.org/owner/name.git?x=y", "owner/name"] {
            let listed = home.json(&[index, &["list", "--repository", wanted]].concat());
            assert_eq!(listed.as_array().unwrap().len(), URLS.len(), "{wanted} {index:?}");
        }
    }
    // Nor does the index contain them.
    for entry in fs::read_dir(home.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            assert!(!bytes.windows(6).any(|window| window == b"s3cret"), "{}", path.display());
        }
    }
}

#[test]
fn the_log_keeps_the_credentials_and_no_new_line_repeats_them() {
    let home = home();
    for (n, url) in URLS.iter().enumerate() {
        assert_eq!(home.ok(&["export", &id(n)]), log(n, url));
    }
    let fork = home.ok(&["fork", &id(0)]).trim().to_owned();
    let export = home.ok(&["export", &fork]);
    let (head, copied) = export.split_once('\n').unwrap();
    assert!(head.contains("https://host.org/owner/name.git") && !head.contains("s3cret"), "{head}");
    assert_eq!(copied, log(0, URLS[0]));
}
