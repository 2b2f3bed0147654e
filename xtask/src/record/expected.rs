//! What the program reports about its threads after a restart: the content of `expected.json`.

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::player::{Cast, serve};
use super::stage::Stage;
use crate::codex::PROBE;
use crate::codex::app_server::{AppServer, refusal};
use crate::codex::exec::{ExecTurn, TurnSetting};

/// Asks about all threads. The probes append to the threads, so the home must have been copied before.
pub(super) fn ask(stage: &Stage, cast: &Cast) -> Result<Value> {
    let mut expected = json!({"version": stage.codex.version, "threads": cast.threads});
    let mut log = cast.log.clone();
    if cast.served {
        let mut server = serve(stage)?;
        let rows = |archived: bool| json!({"limit": 100, "modelProviders": [], "archived": archived});
        expected["list"] = server.pages("thread/list", &rows(false))?.into();
        expected["list_archived"] = server.pages("thread/list", &rows(true))?.into();
        expected["read"] = told(cast, "read", &mut log, |id| read(&mut server, id))?;
        let mut alive = cast.threads.clone();
        alive.retain(|letter, _| !cast.archived.contains(letter));
        let alive = Cast { threads: alive, ..Cast::default() };
        expected["model_input_after_resume"] = told(&alive, "resume", &mut log, |id| probe(stage, &mut server, id))?;
        server.stop()?;
    } else {
        expected["model_input_after_resume"] = told(cast, "resume", &mut log, |id| exec_probe(stage, id))?;
    }
    expected["log"] = log.into();
    Ok(expected)
}

/// Returns the answers for each thread. A refusal of the program is printed.
fn told(cast: &Cast, what: &str, log: &mut Vec<Value>, mut ask: impl FnMut(&str) -> Result<Value>) -> Result<Value> {
    let mut answers = Map::new();
    for (letter, id) in &cast.threads {
        match ask(id) {
            Ok(answer) => {
                answers.insert(letter.clone(), answer);
            }
            Err(error) => {
                let reason = refusal(&error).with_context(|| format!("{what} {letter}: {error:#}"))?;
                log.push(json!([what, letter, "refused", reason]));
            }
        }
    }
    Ok(answers.into())
}

fn read(server: &mut AppServer, id: &str) -> Result<Value> {
    Ok(server.call("thread/read", json!({"threadId": id, "includeTurns": true}))?["thread"].take())
}

fn probe(stage: &Stage, server: &mut AppServer, id: &str) -> Result<Value> {
    server.resume(id)?;
    let before = stage.model.count();
    server.run_turn(id, PROBE)?;
    Ok(stage.model.input_after(before)?.into())
}

fn exec_probe(stage: &Stage, id: &str) -> Result<Value> {
    let place = TurnSetting { home: &stage.home, cwd: &stage.project, image: None };
    Ok(ExecTurn::probe(stage.codex, place, &stage.model, id)?.into())
}
