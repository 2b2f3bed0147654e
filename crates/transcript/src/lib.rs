//! Transcripts of threads as documents.
//!
//! The [glossary](../../../docs/glossary.md) defines the terms.
//!
//! The input is what any store returns: a [`StoredThread`](selvedge_protocol::StoredThread) and its
//! [`Turn`](selvedge_protocol::Turn)s. The output is a text: a fragment of HTML for a page ([`html::turn`]), one whole HTML file
//! ([`html_document`]), or Markdown ([`markdown_document`]). Nothing here does I/O.
//!
//! # What a transcript can contain
//!
//! A transcript is not trusted: a web page that an agent has read, a file name, or the output of a command can contain anything. So
//! no text of a transcript becomes markup or script. Markdown is rendered without raw HTML, links go to `http`, `https` and `mailto` only and
//! say nothing of the page that they stand on, and pictures are shown only if the transcript contains their bytes.
//!
//! | file | is |
//! | --- | --- |
//! | `plain_text` | outputs of terminals as plain text |
//! | `item_facts` | what a client says of an item: status, duration, changed files, images |
//! | `size_text` | sizes in words |
//! | `cut` | long texts shortened, for pages |
//! | `highlight` | code by language, as classes |
//! | `rich_text` | Markdown as safe HTML |
//! | `html`, `html_document` | items and turns as HTML, and as one file |
//! | `markdown` | turns as Markdown |

mod cut;
mod highlight;
pub mod html;
mod html_file;
pub mod item_facts;
mod markdown;
mod parts;
mod plain_text;
mod rich_text;
mod size_text;

pub use cut::{MAX_IMAGE_BYTES, cut_content};
pub use highlight::highlighted;
pub use html_file::{STYLE, html_document};
pub use markdown::markdown_document;
pub use parts::TranscriptParts;
pub use plain_text::plain_text;
pub use rich_text::rich_text;
pub use size_text::size_text;
