//! Changes of a thread's metadata, field by field.
//!
//! A field of a patch has three states. JSON and Rust spell them as follows:
//!
//! | meaning | JSON | field that can be cleared | field that cannot |
//! | --- | --- | --- | --- |
//! | leave the field as it is | the key is absent | `None` | `None` |
//! | clear the field | `null` | `Some(None)` | – |
//! | set the field | a value | `Some(Some(value))` | `Some(value)` |
//!
//! A writer of a patch uses its setters, such as `set_name` and `clear_name`. A reader finds the states in the fields: in
//! `Option<Option<T>>` the outer option is `Some` if the patch mentions the field, and the inner one is the new
//! value. Times, the session and the history mode cannot be cleared, because every thread has them; `null` leaves them
//! as they are.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{GitInfo, HistoryMode, RepositoryUrl, SessionId, StoredThread, ThreadId, Timestamp, TokenUsage};

/// Deserializes a field that is present: `null` becomes `Some(None)`, *clear*. serde does not call this for an absent
/// field, which stays `None`, *leave*. Without it, serde would read both as `None`.
fn present<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

/// Declares a patch: a struct with `is_empty` and `merge`.
///
/// - `set` fields have a value in every record and can only be set.
/// - `clear` fields can be set and cleared.
/// - `nested` fields are objects with a patch type of their own. They can be cleared, or changed field by field.
macro_rules! patch {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            set { $( $(#[$set_meta:meta])* $set:ident : $set_ty:ty ),* $(,)? }
            clear { $( $(#[$clear_meta:meta])* $clear:ident ($set_clear:ident, $clear_clear:ident) : $clear_ty:ty ),* $(,)? }
            nested { $( $(#[$nested_meta:meta])* $nested:ident ($set_nested:ident, $clear_nested:ident) : $nested_ty:ty ),* $(,)? }
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $name {
            $( $(#[$set_meta])* #[serde(skip_serializing_if = "Option::is_none")] pub $set: Option<$set_ty>, )*
            $( $(#[$clear_meta])*
               #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
               pub $clear: Option<Option<$clear_ty>>, )*
            $( $(#[$nested_meta])*
               #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
               pub $nested: Option<Option<$nested_ty>>, )*
            /// Fields of a later version of the format. They are kept and merged, but not applied.
            #[serde(flatten, skip_serializing_if = "BTreeMap::is_empty")]
            pub extra: BTreeMap<String, Value>,
        }

        impl $name {
            $(
                #[doc = concat!("Sets `", stringify!($clear), "`.")]
                #[must_use]
                pub fn $set_clear(mut self, value: impl Into<$clear_ty>) -> Self {
                    self.$clear = Some(Some(value.into()));
                    self
                }

                #[doc = concat!("Clears `", stringify!($clear), "`.")]
                #[must_use]
                pub fn $clear_clear(mut self) -> Self {
                    self.$clear = Some(None);
                    self
                }
            )*

            $(
                #[doc = concat!("Changes single fields of `", stringify!($nested), "`.")]
                #[must_use]
                pub fn $set_nested(mut self, patch: $nested_ty) -> Self {
                    self.$nested = Some(Some(patch));
                    self
                }

                #[doc = concat!("Clears the whole of `", stringify!($nested), "`.")]
                #[must_use]
                pub fn $clear_nested(mut self) -> Self {
                    self.$nested = Some(None);
                    self
                }
            )*

            /// Returns whether the patch changes nothing. A nested patch without changes counts as no change.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.extra.is_empty() $( && self.$set.is_none() )* $( && self.$clear.is_none() )*
                    $( && self.$nested.as_ref().is_none_or(|nested| nested.as_ref().is_some_and(|nested| nested.is_empty())) )*
            }

            /// Merges a later patch into this one. The result has the same effect as both patches, one after the other:
            /// a field that the later patch mentions wins, and nested objects are merged field by field.
            pub fn merge(&mut self, later: Self) {
                self.extra.extend(later.extra);
                $( if later.$set.is_some() { self.$set = later.$set; } )*
                $( if later.$clear.is_some() { self.$clear = later.$clear; } )*
                $( match (&mut self.$nested, later.$nested) {
                    // The later patch does not mention the object.
                    (_, None) => {}
                    (Some(Some(earlier)), Some(Some(later))) => earlier.merge(later),
                    // The earlier patch cleared the whole object. A patch cannot express "clear all, then set these";
                    // it has to clear every field that the later patch does not set.
                    (Some(None), Some(Some(later))) => self.$nested = Some(Some(later.over_cleared())),
                    // The later patch clears the object, or the earlier one does not mention it.
                    (earlier, later) => *earlier = later,
                } )*
            }
        }
    };
}

patch! {
    /// A change of [`GitInfo`], field by field. An absent field is left as it is, and `null` clears it.
    pub struct GitInfoPatch {
        set {}
        clear {
            /// The hash of the commit that is checked out.
            commit_hash (set_commit_hash, clear_commit_hash): String,
            /// The branch that is checked out.
            branch (set_branch, clear_branch): String,
            /// The URL from which the repository was cloned, without credentials.
            repository_url (set_repository_url, clear_repository_url): RepositoryUrl,
        }
        nested {}
    }
}

impl GitInfoPatch {
    /// Creates a patch that sets the known fields of `git` and leaves the others as they are.
    #[must_use]
    pub fn set_all(git: &GitInfo) -> Self {
        Self {
            commit_hash: git.commit_hash.clone().map(Some),
            branch: git.branch.clone().map(Some),
            repository_url: git.repository_url.clone().map(Some),
            extra: BTreeMap::new(),
        }
    }

    /// Returns this patch as the change that follows a patch which cleared the whole object. Every field is mentioned:
    /// those that this patch does not set are cleared.
    fn over_cleared(self) -> Self {
        // `flatten` turns "not mentioned" and "clear" into `None`, and the outer `Some` mentions the field.
        Self {
            commit_hash: Some(self.commit_hash.flatten()),
            branch: Some(self.branch.flatten()),
            repository_url: Some(self.repository_url.flatten()),
            extra: self.extra,
        }
    }

    /// Applies the patch to `git`.
    pub fn apply(&self, git: &mut GitInfo) {
        set(&self.commit_hash, &mut git.commit_hash);
        set(&self.branch, &mut git.branch);
        set(&self.repository_url, &mut git.repository_url);
    }
}

patch! {
    /// A change of a thread's metadata, field by field. An absent field is left as it is, and `null` clears it. `{}`
    /// changes nothing. The fields are those of [`StoredThread`]; `id`, `archived` and `location` are not metadata and
    /// cannot be changed by a patch.
    ///
    /// A caller sends it to a store, and a `thread_metadata` line of a log contains one ([`ThreadMetadataRecord`]).
    ///
    /// [`ThreadMetadataRecord`]: crate::ThreadMetadataRecord
    ///
    /// ```
    /// use selvedge_protocol::{GitInfoPatch, StoredThread, ThreadId, ThreadMetadataPatch, Timestamp};
    ///
    /// let id: ThreadId = "01a1fd5d-aacb-7641-837d-630af077ebd5".parse()?;
    /// let mut thread = StoredThread::new(id, Timestamp::from_millis(0));
    /// let git = GitInfoPatch::default().set_branch("main");
    /// let patch = ThreadMetadataPatch::default().set_model("m").clear_cwd().change_git(git);
    /// assert_eq!(serde_json::to_string(&patch)?, r#"{"cwd":null,"model":"m","git":{"branch":"main"}}"#);
    /// patch.apply(&mut thread);
    /// assert_eq!(thread.model.as_deref(), Some("m"));
    /// assert_eq!(thread.git.and_then(|git| git.branch).as_deref(), Some("main"));
    ///
    /// // JSON distinguishes the three states.
    /// let patch: ThreadMetadataPatch = serde_json::from_str(r#"{"cwd":null}"#)?;
    /// assert_eq!((patch.cwd, patch.name), (Some(None), None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub struct ThreadMetadataPatch {
        set {
            /// The time at which the thread was created.
            created_at: Timestamp,
            /// The time of the newest line of the log.
            updated_at: Timestamp,
            /// The time at which the newest turn began.
            recency_at: Timestamp,
            /// The tree of sub-agents to which the thread belongs.
            session_id: SessionId,
            /// The way in which the log is kept.
            history_mode: HistoryMode,
        }
        clear {
            /// The name that a user gave the thread.
            name (set_name, clear_name): String,
            /// What the thread is about.
            preview (set_preview, clear_preview): String,
            /// The first user message, in full.
            first_user_message (set_first_user_message, clear_first_user_message): String,
            /// The thread from which it was forked.
            forked_from_id (set_forked_from_id, clear_forked_from_id): ThreadId,
            /// The thread that started it as a sub-agent.
            parent_thread_id (set_parent_thread_id, clear_parent_thread_id): ThreadId,
            /// The working directory.
            cwd (set_cwd, clear_cwd): String,
            /// The model.
            model (set_model, clear_model): String,
            /// The provider of the model.
            model_provider (set_model_provider, clear_model_provider): String,
            /// The reasoning effort.
            reasoning_effort (set_reasoning_effort, clear_reasoning_effort): String,
            /// When the agent asks the user for approval.
            approval_mode (set_approval_mode, clear_approval_mode): Value,
            /// What commands may access.
            permission_profile (set_permission_profile, clear_permission_profile): Value,
            /// The kind of program that created the thread.
            source (set_source, clear_source): Value,
            /// The category of the source.
            thread_source (set_thread_source, clear_thread_source): Value,
            /// The client on whose behalf the thread was created.
            originator (set_originator, clear_originator): String,
            /// The version of the program that wrote the first line.
            cli_version (set_cli_version, clear_cli_version): String,
            /// The name of a sub-agent.
            agent_nickname (set_agent_nickname, clear_agent_nickname): String,
            /// The role of a sub-agent.
            agent_role (set_agent_role, clear_agent_role): String,
            /// The path of a sub-agent in its tree.
            agent_path (set_agent_path, clear_agent_path): String,
            /// The tokens that the thread has used so far.
            token_usage (set_token_usage, clear_token_usage): TokenUsage,
        }
        nested {
            /// The state of the git repository in which the thread works. A nested patch changes single fields of it.
            git (change_git, clear_git): GitInfoPatch,
        }
    }
}

/// Applies one field of a patch that can be cleared.
fn set<T: Clone>(change: &Option<Option<T>>, field: &mut Option<T>) {
    if let Some(value) = change {
        field.clone_from(value);
    }
}

impl ThreadMetadataPatch {
    /// Applies the patch to a thread record.
    pub fn apply(&self, thread: &mut StoredThread) {
        // Field by field. A field that is forgotten here fails the tests that set and clear each field by its JSON name.
        if let Some(at) = self.created_at {
            thread.created_at = at;
        }
        if let Some(at) = self.updated_at {
            thread.updated_at = at;
        }
        if let Some(at) = self.recency_at {
            thread.recency_at = at;
        }
        if let Some(id) = self.session_id {
            thread.session_id = id;
        }
        if let Some(mode) = self.history_mode {
            thread.history_mode = mode;
        }
        set(&self.name, &mut thread.name);
        set(&self.preview, &mut thread.preview);
        set(&self.first_user_message, &mut thread.first_user_message);
        set(&self.forked_from_id, &mut thread.forked_from_id);
        set(&self.parent_thread_id, &mut thread.parent_thread_id);
        set(&self.cwd, &mut thread.cwd);
        set(&self.model, &mut thread.model);
        set(&self.model_provider, &mut thread.model_provider);
        set(&self.reasoning_effort, &mut thread.reasoning_effort);
        set(&self.approval_mode, &mut thread.approval_mode);
        set(&self.permission_profile, &mut thread.permission_profile);
        set(&self.source, &mut thread.source);
        set(&self.thread_source, &mut thread.thread_source);
        set(&self.originator, &mut thread.originator);
        set(&self.cli_version, &mut thread.cli_version);
        set(&self.agent_nickname, &mut thread.agent_nickname);
        set(&self.agent_role, &mut thread.agent_role);
        set(&self.agent_path, &mut thread.agent_path);
        set(&self.token_usage, &mut thread.token_usage);
        // A change of single fields also applies to a thread without a repository. Then only these fields of the
        // repository are known.
        match &self.git {
            None => {}
            Some(None) => thread.git = None,
            Some(Some(patch)) => {
                let mut git = thread.git.take().unwrap_or_default();
                patch.apply(&mut git);
                // A repository of which every field was cleared is the same as none.
                thread.git = (!git.is_empty()).then_some(git);
            }
        }
    }
}
