//! A thread that grows on the page, by server-sent events.
//!
//! | event | its data |
//! | --- | --- |
//! | `turns` | turns that are new or have changed, as HTML; of a long turn a part. Its id is the place behind it: what comes next. |
//! | `end` | why the page does not follow the thread any longer, as a sentence. |
//!
//! A browser that was disconnected asks again with the id of the last event, so nothing is missed.

use std::convert::Infallible;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_core::Stream;
use selvedge_protocol::{Cursor, ThreadId};
use selvedge_thread_store::{LinePosition, LineQuery, LineStart, StoreError};
use selvedge_transcript::html::{TurnAnchors, html_text};
use serde::Deserialize;
use tokio::sync::{mpsc, watch};

use crate::app::ViewerApp;
use crate::error::PageError;
use crate::page_thread::PageThread;
use crate::turn_view::turn_views;
use crate::turns::{ShownTurn, Turns};
use crate::url::UrlQuery;

/// How long changes are collected before they are sent, so that a fast writer does not cost a page for each line.
const COLLECTED_FOR: Duration = Duration::from_millis(50);

/// How many of the newest items of a long turn are sent again, because they may have changed: calls of tools that have ended, for
/// example.
const SENT_AGAIN: u64 = 50;

/// What the page says when turns that it shows were undone.
const UNDONE: &str = "Turns were undone. Load the page again to see the thread as it is now.";

/// From where on a page is sent what is new: `TURN.ITEM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LivePlace {
    /// The number of the newest turn on the page, which may have grown.
    turn: u64,
    /// If that turn is long: how many of its items are not sent again.
    item: u64,
}

impl LivePlace {
    /// Returns the place behind a turn, at which the thread goes on.
    pub(crate) fn behind(shown: &ShownTurn) -> Option<Self> {
        Some(Self { turn: shown.number?, item: shown.end_item().saturating_sub(SENT_AGAIN) })
    }

    fn parse(text: &str) -> Option<Self> {
        let (turn, item) = text.split_once('.').unwrap_or((text, "0"));
        Some(Self { turn: turn.parse().ok()?, item: item.parse().ok()? })
    }
}

impl fmt::Display for LivePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.turn, self.item)
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct LiveParams {
    /// A [`LivePlace`]. The end of the thread if it is missing.
    from: Option<String>,
}

pub(crate) async fn events(
    State(app): State<Arc<ViewerApp>>,
    PageThread(id): PageThread,
    UrlQuery(params): UrlQuery<LiveParams>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, PageError> {
    // The end is taken first: what is appended from here on wakes the wait.
    let end = end_of(&app, id).await?;
    let last_seen = headers.get("last-event-id").and_then(|value| LivePlace::parse(value.to_str().ok()?));
    let place = match last_seen.or_else(|| LivePlace::parse(&params.from?)) {
        Some(place) => place,
        None => {
            let newest = Turns::newest(&app, id).await?;
            newest.turns.last().and_then(LivePlace::behind).unwrap_or(LivePlace { turn: 1, item: 0 })
        }
    };
    // One event at most waits for a slow reader.
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut stopped = app.stopped.clone();
        let reason = tokio::select! {
            reason = send_changes(&app, id, end, place, &sender) => reason,
            () = sender.closed() => return,
            () = until_stopped(&mut stopped) => "The viewer was stopped.".to_owned(),
        };
        // Nobody may be there to hear it.
        _ = sender.send(Event::default().event("end").data(reason.replace(['\r', '\n'], " "))).await;
    });
    Ok(Sse::new(EventStream(receiver)).keep_alive(KeepAlive::default()))
}

async fn until_stopped(stopped: &mut watch::Receiver<bool>) {
    // An error means that the viewer was dropped.
    _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn end_of(app: &ViewerApp, id: ThreadId) -> Result<LinePosition, StoreError> {
    let query = LineQuery { max_lines: 1, ..LineQuery::from(id, LineStart::End) };
    Ok(app.store().read_lines(&query).await?.next)
}

/// Sends what comes from a place on, now and whenever lines have been added. Returns why it ends.
async fn send_changes(
    app: &ViewerApp,
    id: ThreadId,
    mut end: LinePosition,
    mut place: LivePlace,
    events: &mpsc::Sender<Event>,
) -> String {
    loop {
        match send_turns(app, id, place, events).await {
            Ok(Some(next)) => place = next,
            Ok(None) => return UNDONE.to_owned(),
            Err(error) => return ended(id, &error),
        }
        tokio::time::sleep(COLLECTED_FOR).await;
        end = match next_end(app, id, end).await {
            Ok(end) => end,
            Err(error) => return ended(id, &error),
        };
    }
}

/// Waits until the end of a history is another one.
async fn next_end(app: &ViewerApp, id: ThreadId, end: LinePosition) -> Result<LinePosition, StoreError> {
    loop {
        app.store().wait_for_lines(id, &end).await?;
        let now = end_of(app, id).await?;
        if now != end {
            return Ok(now);
        }
        // A store may wake its waiters for nothing, and often.
        tokio::time::sleep(COLLECTED_FOR).await;
    }
}

/// Sends what comes from a place on, page by page. Returns the next place, and `None` if the turn at the place is gone.
async fn send_turns(
    app: &ViewerApp,
    id: ThreadId,
    mut place: LivePlace,
    events: &mpsc::Sender<Event>,
) -> Result<Option<LivePlace>, StoreError> {
    loop {
        let LivePlace { turn, item } = place;
        let mut turns = Turns::after_item(app, id, Cursor::at_position(turn.saturating_sub(1)), item).await?;
        let Some(last) = turns.turns.last_mut() else {
            // A thread that has no turn yet may still get one.
            return Ok(Some(place).filter(|place| place.turn <= 1));
        };
        let next = LivePlace::behind(last).unwrap_or(place);
        let end = last.end_item();
        // The page need not load what comes with the next event.
        let (has_newer_items, has_newer) = (last.newer_items.take().is_some(), turns.newer.is_some());
        let views = turn_views(app, id, turns, &mut TurnAnchors::default()).await?;
        let html: String = views.into_iter().map(html_text).collect();
        // A receiver that is gone ends the task by itself.
        _ = events.send(Event::default().event("turns").id(next.to_string()).data(html.replace('\r', "&#13;"))).await;
        place = match (has_newer_items, has_newer) {
            (true, _) => LivePlace { item: end, ..next },
            (false, true) => LivePlace { turn: next.turn + 1, item: 0 },
            (false, false) => return Ok(Some(next)),
        };
    }
}

fn ended(id: ThreadId, error: &StoreError) -> String {
    tracing::debug!(thread_id = %id, %error, "a live page ends");
    format!("This page does not follow the thread any longer: {error}")
}

/// The events of a page as a stream.
struct EventStream(mpsc::Receiver<Event>);

impl Stream for EventStream {
    type Item = Result<Event, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        pin!(&mut self.0).poll_recv(context).map(|event| event.map(Ok))
    }
}
