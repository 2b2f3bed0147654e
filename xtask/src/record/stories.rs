//! The stories that can be played, each in its own home.

use crate::codex::thread_mode::ThreadMode;
use anyhow::Result;
use serde_json::json;

use super::player::{Cast, ExecPlayer, Player};
use super::stage::Stage;
use crate::codex::Codex;
use crate::codex::stand_in::Reply;
use crate::codex::voice::VoiceStandIn;
use crate::workspace::Usage;

/// The first release whose app server can do everything that the stories need.
const SERVED: [u32; 2] = [0, 98];

/// The first release that makes paginated threads on request.
const PAGINATED: [u32; 2] = [0, 150];

/// 0.155 rolls legacy threads back, 0.169 no longer does.
const REVERTS_ONLY: [u32; 2] = [0, 160];

/// The first release whose new kinds of lines the story `kinds` shows, and that makes paginated threads of legacy ones.
const NEW_KINDS: [u32; 2] = [0, 171];
/// The first release that tells the model its context window, if the feature is on.
const BUDGETED: [u32; 2] = [0, 141];

/// The first release whose app server runs a command for the user, as far as that was tried.
const SHELLS: [u32; 3] = [0, 144, 0];

/// Suffix of the name of a story whose threads are legacy although the release makes paginated ones.
const LEGACY: &str = "-legacy";

/// Name of the story that is played with the feature `token_budget`.
const BUDGET: &str = "budget";

/// A story that a release can play.
pub(super) struct Story {
    name: &'static str,
    play: Play,
}

/// Plays a story to its end.
type Script = fn(Player) -> Result<Player>;

enum Play {
    Served(Script, ThreadMode, &'static str),
    Exec,
}

const NAMES: [(&str, Script); 5] =
    [("compactions", compactions), ("undo", undo), ("crash", crash), ("rows", rows), ("tools", tools)];

impl Story {
    /// Returns the stories with these names, or all that the release can play.
    pub(super) fn chosen(codex: &Codex, names: &[String]) -> Result<Vec<Self>> {
        let mut all = Self::all(&codex.release());
        if let Some(unknown) = names.iter().find(|name| all.iter().all(|story| story.label() != **name)) {
            let known: Vec<String> = all.iter().map(Self::label).collect();
            let text = format!("Codex {} plays {}, and not `{unknown}`", codex.version, known.join(", "));
            return Err(Usage(text).into());
        }
        all.retain(|story| names.is_empty() || names.contains(&story.label()));
        Ok(all)
    }

    fn all(release: &[u32]) -> Vec<Self> {
        if *release < SERVED[..] {
            return vec![Self { name: "exec", play: Play::Exec }];
        }
        let mut modes = vec![(ThreadMode::Legacy, "")];
        if *release >= PAGINATED[..] {
            modes = vec![(ThreadMode::Paginated, ""), (ThreadMode::Legacy, LEGACY)];
        }
        let mut all = Vec::new();
        for (mode, suffix) in modes.iter().copied() {
            for (name, play) in NAMES {
                if *release < REVERTS_ONLY[..] || suffix.is_empty() || name != "undo" {
                    all.push(Self { name, play: Play::Served(play, mode, suffix) });
                }
            }
        }
        if *release >= NEW_KINDS[..] {
            all.push(Self { name: "kinds", play: Play::Served(kinds, ThreadMode::Paginated, "") });
            all.push(Self { name: "migrated", play: Play::Served(migrated, ThreadMode::Legacy, "") });
        }
        if *release >= SHELLS[..] {
            all.extend(
                modes.iter().map(|(mode, suffix)| Self { name: "shell", play: Play::Served(shell, *mode, suffix) }),
            );
        }
        if *release >= BUDGETED[..] {
            all.push(Self { name: BUDGET, play: Play::Served(budget, modes[0].0, "") });
        }
        all
    }

    /// Returns the lines that the story adds to the configuration of Codex.
    pub(super) fn settings(&self) -> &'static str {
        if self.name == BUDGET { "features.token_budget = true\n" } else { "" }
    }

    /// Returns the name of the story on the command line and in its directory.
    pub(super) fn label(&self) -> String {
        match self.play {
            Play::Served(_, _, suffix) => format!("{}{suffix}", self.name),
            Play::Exec => self.name.to_owned(),
        }
    }

    pub(super) fn play(&self, stage: &Stage) -> Result<Cast> {
        match self.play {
            Play::Served(play, mode, _) => play(Player::new(stage, mode)?)?.finish(),
            Play::Exec => exec(ExecPlayer::new(stage)),
        }
    }
}

/// Compactions. C: on request, two in a row, and one at the end. M: several within one turn, because the context is full repeatedly.
fn compactions(mut player: Player) -> Result<Player> {
    player.start("C", "first question about herons")?;
    player.say("C", "second question about egrets")?;
    player.compact("C")?;
    player.compact("C")?;
    player.say("C", "question after two compactions")?;
    player.compact("C")?;

    player.start("M", "first question about moles")?;
    player.scripted("M", "much to do", full_of_work())?;
    player.say("M", "question after the long turn")?;
    Ok(player)
}

/// A turn that fills the context twice. Old releases give up if it is full again immediately.
fn full_of_work() -> Vec<Reply> {
    vec![Reply::tool("echo one").full(), Reply::tool("echo two"), Reply::tool("echo three").full(), Reply::say()]
}

/// Undone turns. R: from before a compaction. X: all turns, or more turns than exist. G: a fork of R. H: a fork of P, some of whose
/// inherited turns are undone. Z: twice in a row, including a turn with only a compaction, and without a turn afterwards.
fn undo(mut player: Player) -> Result<Player> {
    player.start("R", "first question about rooks")?;
    player.say("R", "second question about ravens")?;
    player.compact("R")?;
    player.say("R", "third question about rats")?;
    player.undo("R", 2)?;
    player.say("R", "question after the undo")?;

    player.start("X", "first question about foxes")?;
    player.say("X", "second question about oxen")?;
    player.undo("X", 5)?;
    player.say("X", "question after all was undone")?;

    player.fork("G", "R")?;
    player.say("G", "question in the fork of the undone")?;

    player.start("P", "first question about pandas")?;
    player.say("P", "second question about pumas")?;
    player.say("P", "third question about pikes")?;
    player.fork("H", "P")?;
    player.say("H", "question of the fork alone")?;
    player.undo("H", 3)?;
    player.say("H", "question behind the cut prefix")?;

    player.start("Z", "first question about zebus")?;
    player.say("Z", "second question about zorillas")?;
    player.say("Z", "third question about zebras")?;
    player.compact("Z")?;
    player.undo("Z", 1)?;
    player.undo("Z", 1)?;
    Ok(player)
}

/// Turns without an end. K: killed between two requests of a turn, resumed and continued. L: killed before any answer, and not resumed.
/// I: interrupted.
fn crash(mut player: Player) -> Result<Player> {
    player.start("I", "first question about ibexes")?;
    player.interrupt("I", "never answered")?;
    player.start("L", "first question about lynxes")?;
    player.start("K", "first question about kiwis")?;
    player = player.kill("K", "killed behind a tool", vec![Reply::tool("echo before the end"), Reply::hang()])?;
    player.say("K", "question after the unclean end")?;
    player = player.kill("L", "killed without an answer", vec![Reply::hang()])?;
    Ok(player)
}

/// P: images. N: named twice. A: archived. B: archived and brought back. S: a thread with a sub-agent, which is S1.
fn rows(mut player: Player) -> Result<Player> {
    let picture = player.stage.project.join("picture.png");
    player.start("P", "first question about pictures")?;
    let local = json!({"type": "localImage", "path": picture});
    player.send("P", &json!([{"type": "text", "text": "what is this"}, local]), vec![Reply::say()])?;
    player.send("P", &json!([local]), vec![Reply::say()])?;

    player.start("N", "question with a name")?;
    player.rename("N", "A first name")?;
    player.rename("N", "A second name")?;

    for letter in ["A", "B"] {
        player.start(letter, "question to be put away")?;
        player.archive(letter)?;
    }
    player.unarchive("B")?;

    player.start("S", "first question about swans")?;
    let child = Reply::call("spawn_agent", json!({"message": "look after the cygnets", "task_name": "cygnets"}));
    player.scripted("S", "send somebody", vec![child, Reply::say(), Reply::say()])?;
    player.adopt("S")?;
    Ok(player)
}

/// W: a web search, a plan, a patch, a command that fails, a call of a tool that does not exist.
fn tools(mut player: Player) -> Result<Player> {
    player.start("W", "first question about wrens")?;
    let search = json!({"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "wrens"}});
    player.scripted("W", "look it up", vec![Reply::item(search), Reply::say()])?;
    let plan = json!({"plan": [{"step": "look", "status": "in_progress"}, {"step": "leap", "status": "pending"}]});
    player.scripted("W", "make a plan", vec![Reply::call("update_plan", plan), Reply::say()])?;
    player.scripted("W", "a command that fails", vec![Reply::tool("echo no; exit 3"), Reply::say()])?;
    let patch = "apply_patch <<'EOF'\n*** Begin Patch\n*** Add File: nest.txt\n+twigs\n*** End Patch\nEOF";
    player.scripted("W", "a change of a file", vec![Reply::tool(patch), Reply::say()])?;
    player.scripted(
        "W",
        "a tool that is not there",
        vec![Reply::call("no_such_tool", json!({"x": 1})), Reply::say()],
    )?;
    Ok(player)
}

/// Kinds of lines that newer features write. D: tools of the client, an answered question, context and items that the client adds, a
/// compaction. V: a voice session. S: a sub-agent that got the history of S, and messages to it; the sub-agent is S1.
fn kinds(mut player: Player) -> Result<Player> {
    let schema = json!({"type": "object", "properties": {"bird": {"type": "string"}}, "required": ["bird"]});
    let tool = json!({"type": "function", "name": "count_eggs", "description": "Counts eggs.", "inputSchema": schema});
    let config = json!({"memories.generate_memories": false, "features.default_mode_request_user_input": true});
    player.start_with("D", "first question about ducks", json!({"dynamicTools": [tool], "config": config}))?;
    let eggs = json!({"contentItems": [{"type": "inputText", "text": "four eggs"}], "success": true});
    player.reply_to("item/tool/call", eggs);
    player.scripted("D", "count the eggs", vec![Reply::call("count_eggs", json!({"bird": "duck"})), Reply::say()])?;
    let options = json!([{"label": "Reeds", "description": "by the water"}, {"label": "Barn", "description": "dry"}]);
    let question = json!({"id": "place", "header": "Nest", "question": "Where shall the nest be?", "options": options});
    player.reply_to("item/tool/requestUserInput", json!({"answers": {"place": {"answers": ["Reeds"]}}}));
    let ask = Reply::call("request_user_input", json!({"questions": [question]}));
    player.scripted("D", "build a nest", vec![ask, Reply::say()])?;
    player.say_with_context("D", "what is on the page", "browser", "a page about ducks")?;
    let told = json!({"type": "input_text", "text": "told by the client"});
    let items = json!([
        {"type": "message", "role": "user", "content": [told]},
        {"type": "configuration_update", "reasoning": {"effort": "high"}},
    ]);
    player.inject("D", &items)?;
    player.say("D", "question after the injection")?;
    player.compact("D")?;
    player.say("D", "question after the compaction")?;

    let voice = VoiceStandIn::start()?;
    let config = json!({"experimental_realtime_ws_base_url": voice.url()});
    player.start_with("V", "first question about geese", json!({"config": config}))?;
    player.pick_up("V")?;
    player.say("V", "typed while the voice session is open")?;
    voice.hear("one", "please count the geese")?;
    player.wait();
    voice.speak("two", "I will count them")?;
    player.wait();
    voice.hand_over("three", "count the geese")?;
    player.end_turn("V")?;
    voice.hear_beginning("four", "and the ducks")?;
    player.wait();
    player.hang_up("V")?;
    player.wait();
    player.say("V", "question after the voice session")?;

    let config = json!({"features.multi_agent_v2": true, "experimental_realtime_ws_base_url": voice.url()});
    player.start_with("S", "first question about swans", json!({"config": config}))?;
    let child = json!({"message": "look after the cygnets", "task_name": "cygnets", "fork_turns": "all"});
    // While a voice session is open, the program shows it that a sub-agent was started.
    player.pick_up("S")?;
    player.scripted("S", "send somebody", vec![Reply::call("spawn_agent", child)])?;
    player.wait();
    player.hang_up("S")?;
    let hello = Reply::call("send_message", json!({"target": "cygnets", "message": "it rains"}));
    let task = Reply::call("followup_task", json!({"target": "cygnets", "message": "count them"}));
    player.scripted("S", "tell it more", vec![hello, task])?;
    player.adopt("S")?;
    Ok(player)
}

/// Paginated threads that the program made of legacy ones. C: a tool call, a compaction and an interrupted turn. The others were recorded by
/// 0.144 and contain rollbacks, which the program no longer makes.
fn migrated(mut player: Player) -> Result<Player> {
    player.start("C", "first question about coots")?;
    player.scripted("C", "a question for a tool", vec![Reply::tool("echo from the tool"), Reply::say()])?;
    player.compact("C")?;
    player.say("C", "question after the compaction")?;
    player.interrupt("C", "never answered")?;
    player.migrate_with("story-0.144.6-undo")
}

/// Commands that the user ran, without the model. U: two between turns, one of which fails. V: one before an undone turn, and one behind it.
fn shell(mut player: Player) -> Result<Player> {
    player.start("U", "first question about urchins")?;
    player.run_command("U", "echo typed by the user")?;
    player.run_command("U", "echo no; exit 3")?;
    player.say("U", "question after the commands")?;

    player.start("V", "first question about voles")?;
    player.run_command("V", "echo kept")?;
    player.say("V", "second question about vipers")?;
    player.run_command("V", "echo undone")?;
    player.undo("V", 1)?;
    player.say("V", "question after the undo")?;
    Ok(player)
}

/// The fragment that names the context window, which is written at the beginning and after a compaction. T: two windows.
fn budget(mut player: Player) -> Result<Player> {
    player.start("T", "first question about toucans")?;
    player.say("T", "second question about tanagers")?;
    player.compact("T")?;
    player.say("T", "question in the second window")?;
    Ok(player)
}

/// E: plain turns with a resume between them. M: several compactions in one turn. K: killed in a turn and resumed. P: a picture.
fn exec(mut player: ExecPlayer) -> Result<Cast> {
    player.say("E", "first question about emus", vec![Reply::say()])?;
    player.say("E", "a question for a tool", vec![Reply::tool("echo from the tool"), Reply::say()])?;

    player.say("M", "first question about moles", vec![Reply::say()])?;
    player.say("M", "much to do", full_of_work())?;
    player.say("M", "still much to do", full_of_work())?;
    player.say("M", "question after the long turns", vec![Reply::say()])?;

    player.say("K", "first question about kiwis", vec![Reply::say()])?;
    player.kill("K", "killed behind a tool", vec![Reply::tool("echo before the end"), Reply::hang()])?;
    player.say("K", "question after the unclean end", vec![Reply::say()])?;

    let picture = player.stage.project.join("picture.png");
    player.show("P", "what is this", &picture)?;
    Ok(player.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_plays_the_stories_that_it_supports() {
        let labels = |release: &[u32]| Story::all(release).iter().map(Story::label).collect::<Vec<_>>();
        assert_eq!(labels(&[0, 36, 0]), ["exec"]);
        assert_eq!(labels(&[0, 98, 0]).len(), 5);
        assert!(labels(&[0, 155, 1]).contains(&"undo-legacy".to_owned()));
        assert!(!labels(&[0, 169, 0]).contains(&"undo-legacy".to_owned()));
        let newest = labels(&[0, 171, 0]);
        assert!(newest.contains(&"kinds".to_owned()) && newest.contains(&"migrated".to_owned()));
        assert!(!labels(&[0, 169, 0]).contains(&"kinds".to_owned()));
        let budgets = |release: &[u32]| labels(release).iter().filter(|label| *label == "budget").count();
        assert_eq!([&[0, 140, 0], &[0, 141, 0], &[0, 169, 0]].map(|release| budgets(release)), [0, 1, 1]);
    }
}
