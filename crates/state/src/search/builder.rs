//! Builds a run from the items of threads.

use selvedge_history::item_texts;
use selvedge_protocol::{ThreadId, TurnItem};

use crate::search::docs::ItemDoc;
use crate::search::run::{Run, RunThread};
use crate::search::vocabulary::Vocabulary;
use selvedge_history::ranking::words::for_each_word;

/// How many bytes of text a word counts at least. Words of scripts without spaces are in fewer bytes and take as much memory.
const MIN_WORD_BYTES: usize = 6;

/// Builds a run from the items of threads, one thread after the other.
#[derive(Default)]
pub(crate) struct RunBuilder {
    vocabulary: Vocabulary,
    /// The number of docs.
    docs: u32,
    threads: Vec<RunThread>,
    text_bytes: usize,
    /// Memory for the word that is being read, which all items reuse.
    buffer: Vec<u8>,
}

impl RunBuilder {
    /// Returns how many bytes of text were taken. Texts of short words count more.
    pub(crate) fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    /// Begins a thread, to which the following items belong.
    pub(crate) fn begin_thread(&mut self, id: ThreadId) {
        self.threads.push(RunThread { id, first_doc: self.docs, docs: Vec::new() });
    }

    /// Drops the items of the current thread.
    pub(crate) fn drop_thread(&mut self) {
        // Their words stay in the vocabulary. Their docs belong to no thread, so that a search ignores them.
        if let Some(thread) = self.threads.last_mut() {
            thread.first_doc = self.docs;
            thread.docs.clear();
        }
    }

    /// Takes the words of an item. An item without words gets no doc.
    pub(crate) fn push(&mut self, turn: u64, item: u64, content: &TurnItem) {
        let Some(thread) = self.threads.last_mut() else { return };
        let mut words = 0;
        for text in item_texts(content) {
            let mut words_here: usize = 0;
            for_each_word(text, &mut self.buffer, |word| {
                words_here += 1;
                self.vocabulary.count(self.docs, word);
            });
            self.text_bytes += text.len().max(words_here * MIN_WORD_BYTES);
            words += words_here as u64;
        }
        if words > 0 {
            thread.docs.push(ItemDoc { turn, item, words });
            self.docs += 1;
        }
    }

    pub(crate) fn finish(mut self) -> Run {
        self.threads.retain(|thread| !thread.docs.is_empty());
        Run { docs: self.docs, blocks: self.vocabulary.into_blocks(), threads: self.threads }
    }
}
