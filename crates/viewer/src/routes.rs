//! Which path leads where.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use crate::app::ViewerApp;
use crate::guard::guard;
use crate::{actions, api, assets, live, pages};

pub(crate) fn router(app: Arc<ViewerApp>) -> Router {
    Router::new()
        .route("/", get(pages::home::page))
        .route("/activity", get(pages::activity::page))
        .route("/activity/part", get(pages::activity::part))
        .route("/compare", get(pages::compare::page))
        .route("/threads/{id}", get(pages::thread::page))
        .route("/threads/{id}/turns", get(pages::thread::turns))
        .route("/threads/{id}/live", get(live::events))
        .route("/threads/{id}/find", get(pages::find::page))
        .route("/threads/{id}/item", get(pages::item::page))
        .route("/threads/{id}/items", get(pages::item::items))
        .route("/threads/{id}/text", get(pages::item::text))
        .route("/threads/{id}/at", get(pages::item::at_position))
        .route("/threads/{id}/context", get(pages::context::page))
        .route("/threads/{id}/windows", get(pages::windows::page))
        .route("/threads/{id}/world", get(pages::world::page))
        .route("/threads/{id}/relatives", get(pages::relatives::page))
        .route("/threads/{id}/lines", get(pages::lines::page))
        .route("/threads/{id}/raw", get(pages::lines::raw))
        .route("/threads/{id}/rename", post(actions::rename))
        .route("/threads/{id}/archive", post(actions::archive))
        .route("/threads/{id}/unarchive", post(actions::unarchive))
        .route("/threads/{id}/fork", post(actions::fork))
        .route("/assets/viewer.css", get(assets::style))
        .route("/assets/viewer.js", get(assets::script))
        .nest("/api/v1", api::routes())
        .fallback(pages::not_found)
        .method_not_allowed_fallback(pages::wrong_method)
        .layer(from_fn_with_state(Arc::clone(&app), guard))
        .with_state(app)
}
