//! Who may ask, and what a browser may do with the answers.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{COOKIE, HOST, HeaderName, HeaderValue, LOCATION, ORIGIN, SET_COOKIE};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::ViewerApp;

/// The name of the cookie with the token. Cookies are shared by all ports of a host, so the port is added to it.
const TOKEN_COOKIE: &str = "selvedge";

/// Scripts, styles, images and connections of this server only; images may also be in the transcript itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Headers of every answer.
const HEADERS: [(&str, &str); 5] = [
    ("content-security-policy", POLICY),
    ("referrer-policy", "same-origin"),
    ("x-content-type-options", "nosniff"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
];

/// Answers a request if it may be answered, and adds the headers to whatever the answer is.
pub(crate) async fn guard(State(app): State<Arc<ViewerApp>>, request: Request, next: Next) -> Response {
    let mut response = match check(&app, request.method(), request.uri(), request.headers()) {
        None => next.run(request).await,
        Some(answer) => answer,
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// Returns the answer to a request that no page may answer: a refusal, or the cookie. `None` if a page may answer it.
fn check(app: &ViewerApp, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Response> {
    let host = text(headers, HOST.as_str()).unwrap_or_default();
    if !is_own_host(app, host) {
        return Some(refused("this address is not the one on which the viewer was started"));
    }
    // A browser sends the origin with each request that could change something, and with those of scripts.
    if let Some(origin) = text(headers, ORIGIN.as_str())
        && origin != format!("http://{host}")
    {
        return Some(refused("the request comes from another site"));
    }
    if method != Method::GET && method != Method::HEAD && text(headers, ORIGIN.as_str()).is_none() {
        return Some(refused("the request does not say from which site it comes"));
    }
    if has_cookie(app, headers) {
        return None;
    }
    let given = uri.query().unwrap_or_default().split('&').find_map(|part| part.strip_prefix("token="));
    if method == Method::GET && given.is_some_and(|token| is_equal(token, &app.token)) {
        return Some(with_cookie(app, uri));
    }
    Some(refused("open the URL that `selvedge serve` printed: it contains the token of this viewer"))
}

/// Remembers the token in a cookie, and leads to the same page without the token in its address.
fn with_cookie(app: &ViewerApp, uri: &Uri) -> Response {
    let rest: Vec<&str> =
        uri.query().unwrap_or_default().split('&').filter(|part| !part.starts_with("token=")).collect();
    let target = if rest.is_empty() { uri.path().to_owned() } else { format!("{}?{}", uri.path(), rest.join("&")) };
    let cookie = format!("{}={}; HttpOnly; SameSite=Strict; Path=/", cookie_name(app), app.token);
    (StatusCode::SEE_OTHER, [(SET_COOKIE, cookie), (LOCATION, target)]).into_response()
}

fn cookie_name(app: &ViewerApp) -> String {
    format!("{TOKEN_COOKIE}-{}", app.address.port())
}

fn has_cookie(app: &ViewerApp, headers: &HeaderMap) -> bool {
    let name = cookie_name(app);
    let cookies =
        headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    cookies
        .filter_map(|cookie| cookie.trim().split_once('='))
        .any(|(cookie, value)| cookie == name && is_equal(value, &app.token))
}

/// Compares in a time that does not depend on where two texts differ.
fn is_equal(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().zip(other.bytes()).fold(0, |sum, (one, other)| sum | (one ^ other)) == 0
}

/// Returns whether a request was made for the address of this server. A page of another site that lets its name lead here (DNS rebinding)
/// has the name of that site.
fn is_own_host(app: &ViewerApp, host: &str) -> bool {
    let port = app.address.port();
    let own =
        [app.address.to_string(), format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}")];
    let is_by_address = host.parse::<std::net::SocketAddr>().is_ok_and(|address| address.port() == port);
    // A server that listens on all interfaces has many addresses. A name is never one of them.
    own.iter().any(|own| own == host) || app.address.ip().is_unspecified() && is_by_address
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn refused(reason: &str) -> Response {
    (StatusCode::FORBIDDEN, format!("{reason}\n")).into_response()
}
