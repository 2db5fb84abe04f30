//! Looking at keys, and new ones.

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;

use super::Shared;
use super::access::{Allowed, ReadKeys, WriteKeys};
use super::body::{Json, Named as _, Of, Params};
use super::model::{
    EnvironmentName, Event, EventPage, EventParams, Issued, Key, KeyPage, ListParams, NewKeyBody,
    PAGE_MAX, findings,
};
use super::problem::{Problem, Problems};
use crate::credential::random::operating_system;
use crate::governance::keeper::Intent;
use crate::governance::preflight::Checks;
use crate::governance::principal::Action;
use crate::key::{Environment, KeyId};
use crate::log::Entry;
use crate::registry::sqlite::{Filter, Listed, NewKey, SqliteError, StoredEvent};
use crate::timestamp::{DAY_MS, Timestamp};

/// The longest life that can be asked for, in days.
const LIFETIME_MAX_DAYS: u32 = 36_500;

pub(super) const VIEW: Intent = Intent {
    action: Action::View,
    key: None,
};

/// List keys
///
/// In the order of their ids, page by page.
#[utoipa::path(get, path = "/admin/v1/keys", tag = "keys", operation_id = "listKeys",
    params(ListParams), security(("bearer" = ["keyward.keys:read"])),
    responses((status = 200, description = "Done", body = KeyPage), Problems))]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Allowed(asker, _): Allowed<ReadKeys>,
    Params(params): Params<ListParams>,
) -> Result<Answer<KeyPage>, Problem> {
    let limit = page(params.limit)?;
    let after = params.after.as_deref().map(KeyId::named).transpose();
    let filter = Filter {
        owner: params.owner,
        states: params.state.map(Into::into).into_iter().collect(),
        ends_before: None,
        after: after.map_err(|_| Problem::malformed("`after` is no id of a key."))?,
    };
    let page = shared.keep(asker, VIEW, move |keeper, _| {
        let mut found: Vec<Listed> = Vec::new();
        let mut is_more = false;
        let each = |listed| -> Result<_, SqliteError> {
            is_more = found.len() >= limit;
            if is_more {
                return Ok(ControlFlow::Break(()));
            }
            found.push(listed);
            Ok(ControlFlow::Continue(()))
        };
        keeper.registry.select((&filter, keeper.now), each)?;
        let last = found.last().filter(|_| is_more);
        Ok(KeyPage {
            next: last.map(|it| it.record.id.to_string()),
            keys: found.iter().map(Key::from).collect(),
        })
    });
    page.await.map(Answer)
}

/// Show a key
#[utoipa::path(get, path = "/admin/v1/keys/{id}", tag = "keys", operation_id = "showKey",
    params(("id" = String, Path, description = "The key's id")),
    security(("bearer" = ["keyward.keys:read"])),
    responses((status = 200, description = "Done", body = Key), Problems))]
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    Allowed(asker, _): Allowed<ReadKeys>,
    Of(id): Of<KeyId>,
) -> Result<Answer<Key>, Problem> {
    let key = shared.keep(asker, VIEW, move |keeper, _| {
        let record = keeper.key(&id)?;
        let state = keeper.registry.state(&id, keeper.now)?;
        Ok(Key::new(&record, state.ok_or(SqliteError::NoKey(id))?))
    });
    key.await.map(Answer)
}

/// Show what was done to a key
///
/// An import of many keys is not among its events.
#[utoipa::path(get, path = "/admin/v1/keys/{id}/events", tag = "keys", operation_id = "keyEvents",
    params(("id" = String, Path, description = "The key's id"), EventParams),
    security(("bearer" = ["keyward.keys:read"])),
    responses((status = 200, description = "Done", body = EventPage), Problems))]
pub(super) async fn history(
    State(shared): State<Arc<Shared>>,
    Allowed(asker, _): Allowed<ReadKeys>,
    Of(id): Of<KeyId>,
    Params(params): Params<EventParams>,
) -> Result<Answer<EventPage>, Problem> {
    let limit = page(params.limit)?;
    if i64::try_from(params.after).is_err() {
        return Err(Problem::malformed("`after` is no number of an event."));
    }
    let page = shared.keep(asker, VIEW, move |keeper, _| {
        keeper.key(&id)?;
        let mut events: Vec<Event> = Vec::new();
        let (mut last, mut next) = (params.after, None);
        keeper.registry.history(&id, |stored: StoredEvent| {
            if stored.sequence <= params.after {
                return Ok(());
            }
            match Entry::decode(&stored.entry) {
                _ if events.len() >= limit => next = Some(last),
                Ok(Entry::KeyEvent(event)) => events.push((&event).into()),
                _ => {
                    let text = "an event that is none".to_owned();
                    return Err(SqliteError::Corrupt(text));
                }
            }
            if next.is_none() {
                last = stored.sequence;
            }
            Ok(())
        })?;
        Ok(EventPage { events, next })
    });
    page.await.map(Answer)
}

/// Issue a key
///
/// The credential is answered this once. Nobody knows it afterwards.
#[utoipa::path(post, path = "/admin/v1/keys", tag = "keys", operation_id = "issueKey",
    request_body = NewKeyBody, security(("bearer" = ["keyward.keys:write"])),
    responses((status = 201, description = "Made", body = Issued), Problems))]
pub(super) async fn issue(
    State(shared): State<Arc<Shared>>,
    Allowed(asker, _): Allowed<WriteKeys>,
    Json(body): Json<NewKeyBody>,
) -> Result<(StatusCode, Answer<Issued>), Problem> {
    let (keep, reason) = (body.keep_wildcards, body.reason.clone());
    let mut new = new_key(body, asker.now)?;
    let intent = Intent {
        action: Action::Issue,
        key: None,
    };
    let issued = shared.keep(asker, intent, move |keeper, evidence| {
        let mut checks = Checks::default();
        keeper
            .asking()
            .issue((&mut new, keep), evidence, &mut checks);
        keeper.proceed(None, &checks)?;
        let (record, secret) = keeper.change(reason.as_deref(), |registry, by| {
            registry.issue(&new, by, &mut operating_system())
        })?;
        let state = keeper.registry.state(&record.id, keeper.now)?;
        Ok(Issued {
            key: Key::new(&record, state.ok_or(SqliteError::NoKey(record.id))?),
            credential: secret.expose().to_string(),
            findings: findings(&checks),
        })
    });
    Ok((StatusCode::CREATED, Answer(issued.await?)))
}

fn new_key(body: NewKeyBody, now: Timestamp) -> Result<NewKey, Problem> {
    let expires_at = match (body.expires_at, body.expires_in_days) {
        (Some(end), None) => time("expires_at", &end)?,
        (None, Some(days)) if (1..=LIFETIME_MAX_DAYS).contains(&days) => {
            now.after_ms(u64::from(days).saturating_mul(DAY_MS))
        }
        _ => {
            let detail = "A key needs an end: `expires_at`, or `expires_in_days` from 1 to 36500.";
            return Err(Problem::refused("refused", detail));
        }
    };
    let network = |text: &String| {
        let wrong = |error| Problem::refused("refused", &format!("`allowed_networks`: {error}"));
        text.parse().map_err(wrong)
    };
    let networks = body.allowed_networks;
    let networks = networks.map(|it| it.iter().map(network).collect());
    let at = |name, text: Option<String>| text.map(|it| time(name, &it)).transpose();
    Ok(NewKey {
        owner: body.owner,
        environment: match body.environment {
            EnvironmentName::Live => Environment::Live,
            EnvironmentName::Test => Environment::Test,
        },
        scopes: body.scopes,
        expires_at,
        not_before: at("not_before", body.not_before)?,
        rotate_by: at("rotate_by", body.rotate_by)?,
        allowed_networks: networks.transpose()?,
        read_only: body.read_only,
        labels: body.labels,
    })
}

fn time(name: &str, text: &str) -> Result<Timestamp, Problem> {
    let wrong = |error| Problem::refused("refused", &format!("`{name}` is {error}"));
    Timestamp::parse(text).map_err(wrong)
}

/// The size of a page.
fn page(limit: u32) -> Result<usize, Problem> {
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::malformed("`limit` is from 1 to 1000."));
    }
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}
