//! What the log tells: a decision, and the certificate of a revocation.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;

use super::Shared;
use super::access::{Allowed, Asker, ReadLog};
use super::body::Of;
use super::keys::VIEW;
use super::model::DecisionView;
use super::problem::{Problem, Problems};
use crate::decision::DecisionId;
use crate::governance::keeper::{EvidenceError, Intent, KeeperError};
use crate::governance::principal::Action;
use crate::key::KeyId;

/// Show a decision, and why it was made
#[utoipa::path(get, path = "/admin/v1/decisions/{id}", tag = "log",
    operation_id = "showDecision",
    params(("id" = String, Path, description = "The decision's id")),
    security(("bearer" = ["keyward.log:read"])),
    responses((status = 200, description = "Done", body = DecisionView), Problems))]
pub(super) async fn decision(
    State(shared): State<Arc<Shared>>,
    Allowed(asker, _): Allowed<ReadLog>,
    Of(id): Of<DecisionId>,
) -> Result<Answer<DecisionView>, Problem> {
    authorize(&shared, asker, VIEW).await?;
    let found = shared.read(move |source| {
        let found = source.decision(id).map_err(failed)?;
        let none = || Problem::not_found("no-decision", "The log has no decision with this id.");
        let found = found.ok_or_else(none)?;
        Ok(DecisionView {
            index: found.index,
            record: found.record,
            text: found.text,
            remedy: found.remedy,
        })
    });
    found.await.map(Answer)
}

/// Get the certificate of a key's revocation
///
/// As `keyward cert revocation` has issued it: a tlog-proof. It is not issued here.
#[utoipa::path(get, path = "/admin/v1/keys/{id}/certificate", tag = "log",
    operation_id = "revocationCertificate",
    params(("id" = String, Path, description = "The key's id")),
    security(("bearer" = ["keyward.log:read"])),
    responses((status = 200, description = "Done", body = String, content_type = "text/plain"), Problems))]
pub(super) async fn certificate(
    State(shared): State<Arc<Shared>>,
    Allowed(asker, _): Allowed<ReadLog>,
    Of(id): Of<KeyId>,
) -> Result<Response, Problem> {
    let intent = Intent {
        action: Action::Certify,
        key: Some(id),
    };
    authorize(&shared, asker, intent).await?;
    let found = shared.read(move |source| {
        let found = source.certificate(id).map_err(failed)?;
        let none = || {
            let detail = "Nobody has certified the revocation of this key; `keyward cert \
                          revocation` does where no host is writing the log.";
            Problem::not_found("no-certificate", detail)
        };
        found.ok_or_else(none)
    });
    let content_type = HeaderValue::from_static("text/plain");
    Ok(([(CONTENT_TYPE, content_type)], found.await?).into_response())
}

async fn authorize(shared: &Shared, asker: Asker, intent: Intent) -> Result<(), Problem> {
    shared.keep(asker, intent, |_, _| Ok(())).await
}

fn failed(error: EvidenceError) -> Problem {
    KeeperError::Evidence(error).into()
}
