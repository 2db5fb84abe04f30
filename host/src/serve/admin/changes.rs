//! Changes of a key: suspended and resumed, masked and unmasked, rotated.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;

use super::Shared;
use super::access::{Allowed, Asker, WriteKeys};
use super::body::{Json, Of};
use super::model::{Change, Key, RotateBody, RotatedKey, Why, findings};
use super::problem::{Problem, Problems};
use crate::credential::random::operating_system;
use crate::governance::keeper::{Evidence, Intent, Keeper};
use crate::governance::lifecycle::Rotating;
use crate::governance::principal::Action;
use crate::key::KeyId;
use crate::key::edit::Edit;
use crate::key::rotation::{GRACE_MAX_DAYS, Rotation};
use crate::registry::sqlite::{Changed, SqliteError};
use crate::timestamp::DAY_MS;

/// How long a rotated key stays usable unless it is said, in days.
const GRACE_DEFAULT_DAYS: u64 = 7;

/// Suspend a key
///
/// It is refused until it is resumed.
#[utoipa::path(post, path = "/admin/v1/keys/{id}/suspend", tag = "keys",
    operation_id = "suspendKey", request_body = Why,
    params(("id" = String, Path, description = "The key's id")),
    security(("bearer" = ["keyward.keys:write"])),
    responses((status = 200, description = "Done", body = Change), Problems))]
pub(super) async fn suspend(
    State(shared): State<Arc<Shared>>,
    Allowed(asker, _): Allowed<WriteKeys>,
    Of(id): Of<KeyId>,
    Json(why): Json<Why>,
) -> Result<Answer<Change>, Problem> {
    edit(&shared, asker, (id, Action::Restrict, Edit::Suspend), why).await
}

/// Resume a key that is suspended
#[utoipa::path(post, path = "/admin/v1/keys/{id}/resume", tag = "keys",
    operation_id = "resumeKey", request_body = Why,
    params(("id" = String, Path, description = "The key's id")),
    security(("bearer" = ["keyward.keys:write"])),
    responses((status = 200, description = "Done", body = Change), Problems))]
pub(super) async fn resume(
    State(shared): State<Arc<Shared>>,
    Allowed(asker, _): Allowed<WriteKeys>,
    Of(id): Of<KeyId>,
    Json(why): Json<Why>,
) -> Result<Answer<Change>, Problem> {
    edit(&shared, asker, (id, Action::Restore, Edit::Resume), why).await
}

/// Put a key under the read-only mask
#[utoipa::path(post, path = "/admin/v1/keys/{id}/mask", tag = "keys",
    operation_id = "maskKey", request_body = Why,
    params(("id" = String, Path, description = "The key's id")),
    security(("bearer" = ["keyward.keys:write"])),
    responses((status = 200, description = "Done", body = Change), Problems))]
pub(super) async fn mask(
    State(shared): State<Arc<Shared>>,
    Allowed(asker, _): Allowed<WriteKeys>,
    Of(id): Of<KeyId>,
    Json(why): Json<Why>,
) -> Result<Answer<Change>, Problem> {
    let change = (id, Action::Restrict, Edit::Mask(true));
    edit(&shared, asker, change, why).await
}

/// Take a key out of the read-only mask
#[utoipa::path(post, path = "/admin/v1/keys/{id}/unmask", tag = "keys",
    operation_id = "unmaskKey", request_body = Why,
    params(("id" = String, Path, description = "The key's id")),
    security(("bearer" = ["keyward.keys:write"])),
    responses((status = 200, description = "Done", body = Change), Problems))]
pub(super) async fn unmask(
    State(shared): State<Arc<Shared>>,
    Allowed(asker, _): Allowed<WriteKeys>,
    Of(id): Of<KeyId>,
    Json(why): Json<Why>,
) -> Result<Answer<Change>, Problem> {
    let change = (id, Action::Restore, Edit::Mask(false));
    edit(&shared, asker, change, why).await
}

/// Rotate a key
///
/// The successor's credential is answered this once. When that answer was lost, rotate again: as
/// long as nobody has used the successor, it gets another secret.
#[utoipa::path(post, path = "/admin/v1/keys/{id}/rotate", tag = "keys",
    operation_id = "rotateKey", request_body = RotateBody,
    params(("id" = String, Path, description = "The key's id")),
    security(("bearer" = ["keyward.keys:write"])),
    responses((status = 201, description = "Made", body = RotatedKey), Problems))]
pub(super) async fn rotate(
    State(shared): State<Arc<Shared>>,
    Allowed(asker, _): Allowed<WriteKeys>,
    Of(id): Of<KeyId>,
    Json(body): Json<RotateBody>,
) -> Result<(StatusCode, Answer<RotatedKey>), Problem> {
    let most_ms = GRACE_MAX_DAYS.saturating_mul(DAY_MS);
    let default_ms = GRACE_DEFAULT_DAYS.saturating_mul(DAY_MS);
    let grace_ms = grace_ms(body.grace_seconds, (default_ms, most_ms))?;
    let intent = Intent {
        action: Action::Rotate,
        key: Some(id),
    };
    let rotated = shared.keep(asker, intent, move |keeper, evidence| {
        let how = Rotating {
            rotation: Rotation {
                grace_ms,
                lifetime_max_ms: keeper.rules.max_lifetime_days.saturating_mul(DAY_MS),
                force: body.force,
            },
            is_dry_run: false,
            is_own: false,
        };
        rotated(keeper, (id, how), evidence, body.reason.as_deref())
    });
    Ok((StatusCode::CREATED, Answer(rotated.await?)))
}

/// A grace period in ms, from one in seconds.
pub(super) fn grace_ms(
    seconds: Option<u64>,
    (default_ms, most_ms): (u64, u64),
) -> Result<u64, Problem> {
    let grace_ms = seconds.map_or(default_ms, |it| it.saturating_mul(1_000));
    if grace_ms > most_ms {
        let detail = format!("`grace_seconds` is at most {}.", most_ms / 1_000);
        return Err(Problem::refused("refused", &detail));
    }
    Ok(grace_ms)
}

/// Rotates a key, unless something stands against it.
pub(super) fn rotated(
    keeper: &mut Keeper,
    (id, how): (KeyId, Rotating),
    evidence: &dyn Evidence,
    reason: Option<&str>,
) -> Result<RotatedKey, Problem> {
    for used in keeper.unnoticed(id, evidence)? {
        let reason = Some("the log has it at work");
        keeper.change(reason, |registry, by| {
            registry.edit(used, &Edit::Activate, by)
        })?;
    }
    let checks = keeper.check_rotation(id, how, evidence)?;
    keeper.proceed(Some(id), &checks)?;
    let rotated = keeper.change(reason, |registry, by| {
        registry.rotate((id, how.rotation), by, &mut operating_system())
    })?;
    let state = |id: KeyId| -> Result<_, SqliteError> {
        let state = keeper.registry.state(&id, keeper.now)?;
        state.ok_or(SqliteError::NoKey(id))
    };
    let (old, successor) = (&rotated.old, &rotated.successor);
    Ok(RotatedKey {
        key: Key::new(old, state(old.id)?),
        successor: Key::new(successor, state(successor.id)?),
        credential: rotated.secret.expose().to_string(),
        is_repeat: rotated.is_repeat,
        findings: findings(&checks),
    })
}

async fn edit(
    shared: &Shared,
    asker: Asker,
    (id, action, edit): (KeyId, Action, Edit),
    why: Why,
) -> Result<Answer<Change>, Problem> {
    let intent = Intent {
        action,
        key: Some(id),
    };
    let changed = shared.keep(asker, intent, move |keeper, _| {
        let reason = why.reason.as_deref();
        let changed = keeper.change(reason, |registry, by| registry.edit(id, &edit, by))?;
        told(keeper, &changed)
    });
    changed.await.map(Answer)
}

/// A change, and the state that the key is in.
pub(super) fn told(keeper: &Keeper, changed: &Changed) -> Result<Change, Problem> {
    let id = changed.record.id;
    let state = keeper.registry.state(&id, keeper.now)?;
    Ok(Change::new(changed, state.ok_or(SqliteError::NoKey(id))?))
}
