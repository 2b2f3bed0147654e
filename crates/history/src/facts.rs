//! What a thread's row says, from what its lines say.

use selvedge_protocol::{
    EventMsg, GitInfo, GitInfoPatch, ItemCompletedEvent, LineFormat, ResponseItem, RolloutItem, RolloutLine,
    SessionMeta, StoredThread, ThreadId, ThreadMetadataPatch, ThreadSettings, Timestamp, TurnContext,
};
use serde_json::Value;

use crate::markers::is_user_message;
use crate::peek::payload_type;
use crate::turn_events::is_turn_start;
use crate::user_input::{UserInput, typed_text};

/// Folds the lines of a thread into its row.
///
/// One fold for live appends, for files and for import, so that all of them say the same. It takes the *resolved* history
/// of a thread. What a fork by reference inherits stands before the fork's own `session_meta`, behind that of another
/// thread; the fold sees this by itself and takes from there what a fork inherits, and no times. In a fork by full copy
/// the fork's own `session_meta` comes first and its copied lines carry the time of the fork, so they count like its own. In a
/// thread that was detached, the first `session_meta` says that what it built on was copied, up to its next one.
///
/// What the model sees (`response_item`, `world_state`) changes no fact but the time of the last line.
#[derive(Clone, Debug)]
pub struct MetadataFold {
    thread: StoredThread,
    lines_of: LinesOf,
}

/// Whose lines are being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinesOf {
    /// No `session_meta` has been read. A file that lost its first line stays here; its lines count.
    NobodyYet,
    /// Of a thread that this one builds on.
    Base,
    /// Of a thread that this one built on before it was detached, behind a head of its own that says so.
    Copied,
    /// Of the thread, since its own `session_meta`.
    Thread,
}

impl LinesOf {
    /// Whether the thread only inherits from the lines.
    const fn is_inherited(self) -> bool {
        matches!(self, Self::Base | Self::Copied)
    }
}

impl MetadataFold {
    /// A thread of which nothing is known but its id and when it was created.
    #[must_use]
    pub fn new(thread_id: ThreadId, created_at: Timestamp) -> Self {
        Self { thread: StoredThread::new(thread_id, created_at), lines_of: LinesOf::NobodyYet }
    }

    /// Goes on from a known row.
    #[must_use]
    pub fn resume(thread: StoredThread) -> Self {
        Self { thread, lines_of: LinesOf::Thread }
    }

    /// What one item changes; the fold has taken it in. `at` is the line's time.
    pub fn observe(&mut self, item: &RolloutItem, at: Option<Timestamp>) -> ThreadMetadataPatch {
        let (facts, is_own_head) = match item {
            RolloutItem::SessionMeta(meta) => (self.session_meta(meta, at), self.is_own(meta)),
            item => (self.facts(item, at), false),
        };
        let is_inherited = self.lines_of.is_inherited() && !is_own_head;
        if is_inherited { self.take(inherited(&self.thread, facts)) } else { self.take_with_time(facts, at) }
    }

    /// The same for a line, parsing it only if its kind can say a fact.
    pub fn observe_line(&mut self, line: &RolloutLine) -> ThreadMetadataPatch {
        match self.telling_item(line) {
            Some(item) => self.observe(&item, line.timestamp()),
            None if self.lines_of.is_inherited() => ThreadMetadataPatch::default(),
            None => self.take_with_time(self.bare_facts(line), line.timestamp()),
        }
    }

    /// Takes from a line of another thread what a fork inherits: preview and first user message, model, effort, approval
    /// mode, permission profile, token usage, and the working directory while there is none. Never a time.
    pub fn observe_inherited(&mut self, line: &RolloutLine) {
        if let Some(item) = self.telling_item(line) {
            let facts = self.facts(&item, None);
            self.take(inherited(&self.thread, facts));
        }
    }

    /// The row so far.
    #[must_use]
    pub fn thread(&self) -> &StoredThread {
        &self.thread
    }

    /// The row.
    #[must_use]
    pub fn into_thread(self) -> StoredThread {
        self.thread
    }

    fn take(&mut self, patch: ThreadMetadataPatch) -> ThreadMetadataPatch {
        patch.apply(&mut self.thread);
        patch
    }

    /// A line was written: the thread is at least as new as the line.
    fn take_with_time(&mut self, mut patch: ThreadMetadataPatch, at: Option<Timestamp>) -> ThreadMetadataPatch {
        if patch.updated_at.is_none() {
            patch.updated_at = at.filter(|at| *at > self.thread.updated_at);
        }
        self.take(patch)
    }

    /// The item of a line that can say a fact.
    fn telling_item(&self, line: &RolloutLine) -> Option<RolloutItem> {
        let can_tell = match line.kind() {
            "session_meta" | "turn_context" | "thread_metadata" => true,
            "event_msg" => self.event_can_tell(&payload_type(line), line.payload()),
            _ => false,
        };
        can_tell.then(|| line.item())
    }

    fn event_can_tell(&self, kind: &str, payload: &str) -> bool {
        match kind {
            "token_count" | "thread_settings_applied" | "thread_goal_updated" => true,
            "user_message" => self.thread.first_user_message.is_none(),
            "item_completed" => self.thread.first_user_message.is_none() && payload.contains("UserMessage"),
            kind => is_turn_start(kind),
        }
    }

    fn facts(&self, item: &RolloutItem, at: Option<Timestamp>) -> ThreadMetadataPatch {
        match item {
            RolloutItem::TurnContext(context) => self.turn_context(context),
            RolloutItem::EventMsg(event) => self.event(event, at),
            RolloutItem::ThreadMetadata(record) if record.thread_id == Some(self.thread.id) => {
                record.patch.clone().unwrap_or_default()
            }
            _ => ThreadMetadataPatch::default(),
        }
    }

    /// A head of the thread itself says what the thread is; that of another one, whose lines follow.
    fn session_meta(&mut self, meta: &SessionMeta, at: Option<Timestamp>) -> ThreadMetadataPatch {
        let is_first = matches!(self.lines_of, LinesOf::NobodyYet | LinesOf::Base);
        if !self.is_own(meta) {
            if is_first {
                self.lines_of = LinesOf::Base;
            }
            return ThreadMetadataPatch::default();
        }
        self.lines_of = if meta.copied_base.is_some() { LinesOf::Copied } else { LinesOf::Thread };
        let mut patch = self.head(meta);
        if is_first {
            let created_at = meta.timestamp.or(at).unwrap_or(self.thread.created_at);
            patch.created_at = Some(created_at);
            patch.recency_at = Some(created_at);
            patch.updated_at = Some(at.unwrap_or(created_at));
        }
        patch
    }

    fn is_own(&self, meta: &SessionMeta) -> bool {
        meta.id.is_none_or(|id| id == self.thread.id)
    }

    /// What a head says: where the thread works is as of the newest head, where it comes from as of the first.
    fn head(&self, meta: &SessionMeta) -> ThreadMetadataPatch {
        let thread = &self.thread;
        ThreadMetadataPatch {
            session_id: meta.session_id.filter(|id| *id != thread.session_id),
            history_mode: meta.history_mode.filter(|mode| *mode != thread.history_mode),
            forked_from_id: first(&thread.forked_from_id, &meta.forked_from_id),
            parent_thread_id: first(&thread.parent_thread_id, &meta.parent_thread_id),
            source: first(&thread.source, &meta.source),
            thread_source: first(&thread.thread_source, &meta.thread_source),
            originator: first(&thread.originator, &meta.originator),
            cli_version: first(&thread.cli_version, &meta.cli_version),
            cwd: newest(&thread.cwd, &meta.cwd),
            model_provider: newest(&thread.model_provider, &meta.model_provider),
            agent_nickname: newest(&thread.agent_nickname, &meta.agent_nickname),
            agent_role: newest(&thread.agent_role, &meta.agent_role),
            agent_path: newest(&thread.agent_path, &meta.agent_path),
            git: meta.git.as_ref().and_then(|git| git_change(thread.git.as_ref(), git)),
            ..ThreadMetadataPatch::default()
        }
    }

    fn turn_context(&self, context: &TurnContext) -> ThreadMetadataPatch {
        let thread = &self.thread;
        ThreadMetadataPatch {
            cwd: first(&thread.cwd, &context.cwd),
            model: newest(&thread.model, &context.model),
            reasoning_effort: newest(&thread.reasoning_effort, &context.effort),
            approval_mode: newest(&thread.approval_mode, &context.approval_policy),
            permission_profile: newest(&thread.permission_profile, &context.permission_profile),
            ..ThreadMetadataPatch::default()
        }
    }

    fn event(&self, event: &EventMsg, at: Option<Timestamp>) -> ThreadMetadataPatch {
        let none = ThreadMetadataPatch::default;
        match event {
            EventMsg::TaskStarted(_) => {
                ThreadMetadataPatch { recency_at: at.filter(|at| *at > self.thread.recency_at), ..none() }
            }
            EventMsg::UserMessage(message) => self.user_input(&UserInput::from_event(message)),
            EventMsg::ItemCompleted(completed) => self.completed(completed),
            EventMsg::TokenCount(count) => {
                let usage = count.info.as_ref().and_then(|info| info.total_token_usage.clone());
                ThreadMetadataPatch { token_usage: newest(&self.thread.token_usage, &usage), ..none() }
            }
            EventMsg::ThreadSettingsApplied(applied) => {
                applied.thread_settings.as_ref().map_or_else(none, |settings| self.settings(settings))
            }
            EventMsg::ThreadGoalUpdated(updated) => self.goal(updated.goal.as_ref()),
            _ => none(),
        }
    }

    fn settings(&self, settings: &ThreadSettings) -> ThreadMetadataPatch {
        let thread = &self.thread;
        let mode = settings.collaboration_mode.as_ref();
        let of_mode = |name: &str| Some(mode?.get("settings")?.get(name)?.as_str()?.to_owned());
        let model = settings.model.clone().or_else(|| of_mode("model"));
        let effort = settings.effort.clone().or_else(|| of_mode("reasoning_effort"));
        ThreadMetadataPatch {
            cwd: newest(&thread.cwd, &settings.cwd),
            model: newest(&thread.model, &model),
            model_provider: newest(&thread.model_provider, &settings.model_provider_id),
            reasoning_effort: newest(&thread.reasoning_effort, &effort),
            approval_mode: newest(&thread.approval_mode, &settings.approval_policy),
            permission_profile: newest(&thread.permission_profile, &settings.permission_profile),
            ..ThreadMetadataPatch::default()
        }
    }

    fn goal(&self, goal: Option<&Value>) -> ThreadMetadataPatch {
        let objective = goal.and_then(|goal| goal.get("objective")?.as_str()).map(str::trim);
        let preview = objective.filter(|objective| !objective.is_empty()).map(str::to_owned);
        ThreadMetadataPatch { preview: first(&self.thread.preview, &preview), ..ThreadMetadataPatch::default() }
    }

    fn completed(&self, completed: &ItemCompletedEvent) -> ThreadMetadataPatch {
        match &completed.item {
            Some(item) if item.kind() == "UserMessage" => self.user_input(&UserInput::from_item(item)),
            _ => ThreadMetadataPatch::default(),
        }
    }

    fn user_input(&self, input: &UserInput) -> ThreadMetadataPatch {
        self.first_words(input.summary())
    }

    fn first_words(&self, words: Option<String>) -> ThreadMetadataPatch {
        ThreadMetadataPatch {
            first_user_message: first(&self.thread.first_user_message, &words),
            preview: first(&self.thread.preview, &words),
            ..ThreadMetadataPatch::default()
        }
    }

    /// Files of mid 2025 hold no events. Only there a response item is all that is left of the user's words.
    fn bare_facts(&self, line: &RolloutLine) -> ThreadMetadataPatch {
        let is_candidate = line.format() == LineFormat::Bare
            && line.kind() == "response_item"
            && self.thread.first_user_message.is_none();
        match is_candidate.then(|| line.item()) {
            Some(RolloutItem::ResponseItem(item)) if is_user_message(&item) => self.first_words(words_of(&item)),
            _ => ThreadMetadataPatch::default(),
        }
    }
}

fn words_of(item: &ResponseItem) -> Option<String> {
    let text = item.texts().concat();
    Some(typed_text(&text).to_owned()).filter(|text| !text.is_empty())
}

/// Of what a line of another thread says, what a fork of it inherits.
fn inherited(thread: &StoredThread, facts: ThreadMetadataPatch) -> ThreadMetadataPatch {
    ThreadMetadataPatch {
        preview: facts.preview,
        first_user_message: facts.first_user_message,
        model: facts.model,
        reasoning_effort: facts.reasoning_effort,
        approval_mode: facts.approval_mode,
        permission_profile: facts.permission_profile,
        token_usage: facts.token_usage,
        cwd: facts.cwd.filter(|_| thread.cwd.is_none()),
        ..ThreadMetadataPatch::default()
    }
}

/// The change to a value that is told, if it is a change.
fn newest<T: Clone + PartialEq>(known: &Option<T>, told: &Option<T>) -> Option<Option<T>> {
    (told.is_some() && told != known).then(|| told.clone())
}

/// The change to a value that is told, if nothing is known yet.
fn first<T: Clone>(known: &Option<T>, told: &Option<T>) -> Option<Option<T>> {
    (told.is_some() && known.is_none()).then(|| told.clone())
}

/// A head that tells of the repository tells the whole of it: a branch that is not named is not checked out any more.
fn git_change(known: Option<&GitInfo>, told: &GitInfo) -> Option<Option<GitInfoPatch>> {
    let unknown = GitInfo::default();
    let known = known.unwrap_or(&unknown);
    if told.is_empty() {
        return None;
    }
    let change = |known: &Option<String>, told: &Option<String>| (known != told).then(|| told.clone());
    let patch = GitInfoPatch {
        commit_hash: change(&known.commit_hash, &told.commit_hash),
        branch: change(&known.branch, &told.branch),
        repository_url: change(&known.repository_url, &told.repository_url),
        ..GitInfoPatch::default()
    };
    (!patch.is_empty()).then_some(Some(patch))
}

/// The kinds of lines that make up most of a log and say no fact.
const FACTLESS: [&[u8]; 5] =
    [b"response_item\"", b"token_usage_record\"", b"compacted\"", b"world_state\"", b"dynamic_tools_updated\""];

/// Whether a line says no fact, by the first bytes of its envelope. When in doubt it may say one.
#[must_use]
pub fn has_no_metadata(line: &[u8]) -> bool {
    const TYPE: &[u8] = b"\"type\":\"";
    let head = &line[..line.len().min(96)];
    // The timestamp and the ordinal that stand before the type hold nothing that looks like it.
    let Some(at) = memchr::memmem::find(head, TYPE) else { return false };
    let (before, kind) = (&head[..at], &head[at + TYPE.len()..]);
    before.starts_with(b"{\"timestamp\":\"")
        && memchr::memmem::find(before, b"\"payload\"").is_none()
        && FACTLESS.iter().any(|factless| kind.starts_with(factless))
}
