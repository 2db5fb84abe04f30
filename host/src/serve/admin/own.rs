//! A key that rotates itself: its holder needs no role, and the key the scope for it by name.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;

use super::Shared;
use super::access::{Allowed, RotateSelf};
use super::body::Json;
use super::changes::{grace_ms, rotated};
use super::model::{RotateSelfBody, RotatedKey};
use super::problem::{Problem, Problems};
use crate::governance::keeper::{Evidence, EvidenceError};
use crate::governance::lifecycle::Rotating;
use crate::key::rotation::Rotation;
use crate::key::{KeyId, KeyRecord};
use crate::timestamp::{DAY_MS, Timestamp};

/// Rotate the key that is presented
///
/// The successor has its scopes and its length of life, and its credential is answered this once.
#[utoipa::path(post, path = "/self/v1/rotate", tag = "self", operation_id = "rotateSelf",
    request_body = RotateSelfBody, security(("bearer" = ["keyward.self:rotate"])),
    responses((status = 201, description = "Made", body = RotatedKey), Problems))]
pub(super) async fn rotate(
    State(shared): State<Arc<Shared>>,
    Allowed(asker, _): Allowed<RotateSelf>,
    Json(body): Json<RotateSelfBody>,
) -> Result<(StatusCode, Answer<RotatedKey>), Problem> {
    let key = asker.key;
    let rotated = shared.open(asker, None, move |keeper, evidence| {
        let Some(most_ms) = keeper.rules.self_rotation_grace_ms else {
            let detail = "No key rotates itself here.";
            return Err(Problem::not_found("no-self-rotation", detail));
        };
        let how = Rotating {
            rotation: Rotation {
                grace_ms: grace_ms(body.grace_seconds, (most_ms, most_ms))?,
                lifetime_max_ms: keeper.rules.max_lifetime_days.saturating_mul(DAY_MS),
                force: false,
            },
            is_dry_run: false,
            is_own: true,
        };
        rotated(keeper, (key, how), &Presented { key, evidence }, None)
    });
    Ok((StatusCode::CREATED, Answer(rotated.await?)))
}

/// Evidence of somebody who presents a key: that one is at work.
struct Presented<'a> {
    key: KeyId,
    evidence: &'a dyn Evidence,
}

impl Evidence for Presented<'_> {
    fn used(&self, key: KeyId) -> Result<bool, EvidenceError> {
        if key == self.key {
            return Ok(true);
        }
        self.evidence.used(key)
    }

    fn marks(&self, record: &KeyRecord, now: Timestamp) -> Option<Vec<String>> {
        self.evidence.marks(record, now)
    }
}
