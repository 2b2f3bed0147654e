//! Folds the lines of a thread into its thread record: the metadata that a listing shows.

use selvedge_protocol::{
    EventMsg, GitInfo, GitInfoPatch, ItemCompletedEvent, RolloutItem, RolloutLine, SessionMeta, StoredThread, ThreadId,
    ThreadMetadataPatch, ThreadSettings, Timestamp, TurnContext,
};
use serde_json::Value;

use crate::context_fragments::is_typed_message;
use crate::payload_fields::{message_role, payload_type};
use crate::turn_events::is_turn_start;
use crate::user_input::UserInput;

/// Folds the lines of a thread into its thread record.
///
/// Live appends, files and imports use the same fold, so that all of them get the same record. It takes the *resolved* history
/// of a thread. That history can begin with lines of other threads, which the fold recognizes by the `session_meta` lines:
///
/// ```text
/// new thread          head of the thread | its lines
/// fork by reference   head of the source | inherited lines | head of the fork (with a base) | its lines
/// fork by full copy   head of the fork   | copied lines, with the time of the fork, count as its own
/// detached thread     head of the thread (with `copied_base`) | copied lines | head of the thread | its lines
/// ```
///
/// From inherited and copied lines of the second and fourth kind the fold takes what a fork inherits, and never a time.
///
/// A sub-agent can begin with lines that were copied from its parent ([`SessionMeta::subagent_history_start_ordinal`]). They say
/// nothing about the sub-agent: their messages, settings and tokens are those of the parent.
///
/// A `response_item` changes the record only if it is the first message of the user: if no event shows it, the thread has no other
/// preview. World states change nothing except the time of the last update.
#[derive(Clone, Debug)]
pub struct MetadataFold {
    thread: StoredThread,
    line_owner: LineOwner,
    /// Ordinal at which the own lines of a sub-agent begin. 0 for other threads.
    own_lines_start: u64,
}

/// Whose lines the fold is reading.
///
/// ```text
/// Unknown                     head of another thread         -> Base
/// Unknown                     own head with `copied_base`    -> CopiedBase
/// Unknown, Base, CopiedBase   own head without `copied_base` -> Thread
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineOwner {
    /// No `session_meta` was read yet. A file that lost its first line stays here, and its lines count as its own.
    Unknown,
    /// Lines of a thread that this one builds on.
    Base,
    /// Copied lines of a thread that this one built on before it was detached.
    CopiedBase,
    /// Lines of the thread itself, after its own `session_meta`.
    Thread,
}

impl LineOwner {
    /// Returns whether the thread only inherits from these lines.
    const fn is_inherited(self) -> bool {
        matches!(self, Self::Base | Self::CopiedBase)
    }
}

impl MetadataFold {
    /// Creates a fold for a thread with this id and creation time.
    #[must_use]
    pub fn new(thread_id: ThreadId, created_at: Timestamp) -> Self {
        let thread = StoredThread::new(thread_id, created_at);
        Self { thread, line_owner: LineOwner::Unknown, own_lines_start: 0 }
    }

    /// Creates a fold that continues from a known thread record, in lines of the thread itself. The log of a sub-agent may still be
    /// in the lines that it copied from its parent: [`after_head`](Self::after_head) says where these end.
    #[must_use]
    pub fn resume(thread: StoredThread) -> Self {
        Self { thread, line_owner: LineOwner::Thread, own_lines_start: 0 }
    }

    /// Takes from the head of the thread's newest segment where the lines end that a sub-agent copied from its parent. The record
    /// does not change.
    #[must_use]
    pub fn after_head(mut self, head: &SessionMeta) -> Self {
        self.note_copied_lines(head);
        self
    }

    /// Replaces the record by a newer one of the same thread.
    pub fn replace_thread(&mut self, thread: StoredThread) {
        self.thread = thread;
    }

    /// Applies one item to the record and returns what it changed. `at` is the time of its line, and `ordinal` its ordinal, as
    /// far as the line has one.
    pub fn observe_numbered(
        &mut self,
        item: &RolloutItem,
        ordinal: Option<u64>,
        at: Option<Timestamp>,
    ) -> ThreadMetadataPatch {
        if self.is_copied_from_parent(ordinal) { self.observe_copied(at) } else { self.observe(item, at) }
    }

    /// Applies one item that is not copied from the parent of a sub-agent, and returns what it changed. `at` is the time of its
    /// line.
    pub fn observe(&mut self, item: &RolloutItem, at: Option<Timestamp>) -> ThreadMetadataPatch {
        let (patch, is_own_head) = match item {
            RolloutItem::SessionMeta(meta) => {
                self.note_copied_lines(meta);
                (self.session_meta(meta, at), self.is_own(meta))
            }
            item => (self.patch_from(item, at), false),
        };
        let is_inherited = self.line_owner.is_inherited() && !is_own_head;
        if is_inherited { self.apply(inherited(&self.thread, patch)) } else { self.apply_with_time(patch, at) }
    }

    /// Applies one line and returns what it changed. The line is parsed only if its kind can contain metadata.
    pub fn observe_line(&mut self, line: &RolloutLine) -> ThreadMetadataPatch {
        if self.is_copied_from_parent(line.ordinal()) {
            return self.observe_copied(line.timestamp());
        }
        match self.item_with_metadata(line) {
            Some(item) => self.observe(&item, line.timestamp()),
            None if self.line_owner.is_inherited() => ThreadMetadataPatch::default(),
            None => self.apply_with_time(ThreadMetadataPatch::default(), line.timestamp()),
        }
    }

    /// Applies a line of another thread, of which a fork inherits: preview and first user message, model, effort, approval mode,
    /// permission profile, token usage, and the working directory if there is none yet. Never a time.
    pub fn observe_inherited(&mut self, line: &RolloutLine) {
        if self.is_copied_from_parent(line.ordinal()) {
            return;
        }
        if let Some(item) = self.item_with_metadata(line) {
            if let RolloutItem::SessionMeta(meta) = &item {
                self.note_copied_lines(meta);
            }
            let patch = self.patch_from(&item, None);
            self.apply(inherited(&self.thread, patch));
        }
    }

    /// Takes from a head where the lines end that a sub-agent copied from its parent.
    fn note_copied_lines(&mut self, head: &SessionMeta) {
        self.own_lines_start = head.subagent_history_start_ordinal.unwrap_or(self.own_lines_start);
    }

    /// Returns whether a sub-agent copied the line with this ordinal from its parent. A copied head is such a line, so it is never
    /// asked where copied lines end.
    fn is_copied_from_parent(&self, ordinal: Option<u64>) -> bool {
        ordinal.is_some_and(|ordinal| ordinal < self.own_lines_start)
    }

    /// Takes a line that a sub-agent copied from its parent. Only its time counts: it is a line of the thread's log.
    fn observe_copied(&mut self, at: Option<Timestamp>) -> ThreadMetadataPatch {
        let at = at.filter(|_| !self.line_owner.is_inherited());
        self.apply_with_time(ThreadMetadataPatch::default(), at)
    }

    /// Returns the record so far.
    #[must_use]
    pub fn thread(&self) -> &StoredThread {
        &self.thread
    }

    /// Returns the record.
    #[must_use]
    pub fn into_thread(self) -> StoredThread {
        self.thread
    }

    fn apply(&mut self, patch: ThreadMetadataPatch) -> ThreadMetadataPatch {
        patch.apply(&mut self.thread);
        patch
    }

    /// Applies a patch from a line of the thread itself: the thread is at least as new as the line.
    fn apply_with_time(&mut self, mut patch: ThreadMetadataPatch, at: Option<Timestamp>) -> ThreadMetadataPatch {
        if patch.updated_at.is_none() {
            patch.updated_at = at.filter(|at| *at > self.thread.updated_at);
        }
        self.apply(patch)
    }

    /// Returns the item of a line that can contain metadata.
    fn item_with_metadata(&self, line: &RolloutLine) -> Option<RolloutItem> {
        let may_have_metadata = match line.kind() {
            "session_meta" | "turn_context" | "thread_metadata" => true,
            "event_msg" => self.event_may_have_metadata(&payload_type(line), line.payload()),
            "response_item" if self.thread.first_user_message.is_none() => {
                message_role(&payload_type(line), line.payload()).as_deref() == Some("user")
            }
            _ => false,
        };
        may_have_metadata.then(|| line.item())
    }

    fn event_may_have_metadata(&self, kind: &str, payload: &str) -> bool {
        match kind {
            "token_count" | "thread_settings_applied" | "thread_goal_updated" => true,
            // Only the first message of the user matters: later ones, which can be long, are not parsed.
            "user_message" => self.thread.first_user_message.is_none(),
            "item_completed" => self.thread.first_user_message.is_none() && payload.contains("UserMessage"),
            kind => is_turn_start(kind),
        }
    }

    fn patch_from(&self, item: &RolloutItem, at: Option<Timestamp>) -> ThreadMetadataPatch {
        match item {
            RolloutItem::TurnContext(context) => self.turn_context(context),
            RolloutItem::EventMsg(event) => self.event(event, at),
            RolloutItem::ResponseItem(item) if is_typed_message(item) => {
                self.user_input(&UserInput::from_response(item))
            }
            RolloutItem::ThreadMetadata(record) if record.thread_id == Some(self.thread.id) => {
                record.patch.clone().unwrap_or_default()
            }
            _ => ThreadMetadataPatch::default(),
        }
    }

    /// Takes a head, which determines whose lines follow. Only a head of the thread itself changes the record.
    fn session_meta(&mut self, meta: &SessionMeta, at: Option<Timestamp>) -> ThreadMetadataPatch {
        let is_first = matches!(self.line_owner, LineOwner::Unknown | LineOwner::Base);
        if !self.is_own(meta) {
            if is_first {
                self.line_owner = LineOwner::Base;
            }
            return ThreadMetadataPatch::default();
        }
        self.line_owner = if meta.copied_base.is_some() { LineOwner::CopiedBase } else { LineOwner::Thread };
        let mut patch = self.patch_from_head(meta);
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

    /// Returns what a head changes. The newest head determines where the thread works, the first head where it comes from.
    fn patch_from_head(&self, meta: &SessionMeta) -> ThreadMetadataPatch {
        let thread = &self.thread;
        // In older heads only the source says who started a sub-agent, and what it is called.
        let spawn = meta.thread_spawn().unwrap_or_default();
        ThreadMetadataPatch {
            session_id: meta.session_id.filter(|id| *id != thread.session_id),
            history_mode: meta.history_mode.filter(|mode| *mode != thread.history_mode),
            forked_from_id: first(&thread.forked_from_id, &meta.forked_from_id),
            parent_thread_id: first(&thread.parent_thread_id, &meta.parent_thread_id.or(spawn.parent_thread_id)),
            source: first(&thread.source, &meta.source),
            thread_source: first(&thread.thread_source, &meta.thread_source),
            originator: first(&thread.originator, &meta.originator),
            cli_version: first(&thread.cli_version, &meta.cli_version),
            cwd: newest(&thread.cwd, &meta.cwd),
            model_provider: newest(&thread.model_provider, &meta.model_provider),
            agent_nickname: newest(&thread.agent_nickname, &meta.agent_nickname.clone().or(spawn.agent_nickname)),
            agent_role: newest(&thread.agent_role, &meta.agent_role.clone().or(spawn.agent_role)),
            agent_path: newest(&thread.agent_path, &meta.agent_path.clone().or(spawn.agent_path)),
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
        self.first_message(input.summary())
    }

    fn first_message(&self, text: Option<String>) -> ThreadMetadataPatch {
        ThreadMetadataPatch {
            first_user_message: first(&self.thread.first_user_message, &text),
            preview: first(&self.thread.preview, &text),
            ..ThreadMetadataPatch::default()
        }
    }
}

/// Returns the part of a patch from a line of another thread that a fork inherits.
fn inherited(thread: &StoredThread, patch: ThreadMetadataPatch) -> ThreadMetadataPatch {
    ThreadMetadataPatch {
        preview: patch.preview,
        first_user_message: patch.first_user_message,
        model: patch.model,
        reasoning_effort: patch.reasoning_effort,
        approval_mode: patch.approval_mode,
        permission_profile: patch.permission_profile,
        token_usage: patch.token_usage,
        cwd: patch.cwd.filter(|_| thread.cwd.is_none()),
        ..ThreadMetadataPatch::default()
    }
}

/// Returns the change to a value that the line contains, if it differs from the known one.
fn newest<T: Clone + PartialEq>(known: &Option<T>, value: &Option<T>) -> Option<Option<T>> {
    (value.is_some() && value != known).then(|| value.clone())
}

/// Returns the change to a value that the line contains, if none is known yet.
fn first<T: Clone>(known: &Option<T>, value: &Option<T>) -> Option<Option<T>> {
    (value.is_some() && known.is_none()).then(|| value.clone())
}

/// Returns the change to the git facts.
fn git_change(known: Option<&GitInfo>, value: &GitInfo) -> Option<Option<GitInfoPatch>> {
    let unknown = GitInfo::default();
    let known = known.unwrap_or(&unknown);
    if value.is_empty() {
        return None;
    }
    // A head with git facts has all of them: a branch that is missing is not checked out any more.
    fn change<T: Clone + PartialEq>(known: &Option<T>, value: &Option<T>) -> Option<Option<T>> {
        (known != value).then(|| value.clone())
    }
    let patch = GitInfoPatch {
        commit_hash: change(&known.commit_hash, &value.commit_hash),
        branch: change(&known.branch, &value.branch),
        repository_url: change(&known.repository_url, &value.repository_url),
        ..GitInfoPatch::default()
    };
    (!patch.is_empty()).then_some(Some(patch))
}
