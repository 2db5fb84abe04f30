//! Revocation: ordered, confirmed by somebody else, or done in an emergency that somebody else
//! reviews.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;

use super::Shared;
use super::access::{Allowed, ReadKeys, RevokeKeys};
use super::body::{Json, Of};
use super::changes::told;
use super::keys::VIEW;
use super::model::{Change, Event, Order, Orders, Reason, Why};
use super::problem::{Problem, Problems};
use crate::digest::Digest;
use crate::governance::keeper::Intent;
use crate::governance::principal::Action;
use crate::key::KeyId;

const fn intent(action: Action, key: Option<KeyId>) -> Intent {
    Intent { action, key }
}

/// Order the revocation of a key
///
/// The key is suspended; another manager confirms.
#[utoipa::path(post, path = "/admin/v1/keys/{id}/revocation-order", tag = "revocation",
    operation_id = "orderRevocation", request_body = Reason,
    params(("id" = String, Path, description = "The key's id")),
    security(("bearer" = ["keyward.keys:revoke"])),
    responses((status = 201, description = "Made", body = Order), Problems))]
pub(super) async fn order(
    State(shared): State<Arc<Shared>>,
    Allowed(asker, _): Allowed<RevokeKeys>,
    Of(id): Of<KeyId>,
    Json(why): Json<Reason>,
) -> Result<(StatusCode, Answer<Order>), Problem> {
    let intent = intent(Action::OrderRevocation, Some(id));
    let order = shared.keep(asker, intent, move |keeper, _| {
        let valid_ms = keeper.rules.order_ms;
        let (order, _) = keeper.change(Some(&why.reason), |registry, by| {
            registry.order_revocation(id, valid_ms, by)
        })?;
        Ok(Order::from(&order))
    });
    Ok((StatusCode::CREATED, Answer(order.await?)))
}

/// List the orders that can be confirmed
#[utoipa::path(get, path = "/admin/v1/revocation-orders", tag = "revocation",
    operation_id = "listOrders", security(("bearer" = ["keyward.keys:read"])),
    responses((status = 200, description = "Done", body = Orders), Problems))]
pub(super) async fn orders(
    State(shared): State<Arc<Shared>>,
    Allowed(asker, _): Allowed<ReadKeys>,
) -> Result<Answer<Orders>, Problem> {
    let orders = shared.keep(asker, VIEW, |keeper, _| {
        let orders = keeper.registry.open_orders(keeper.now)?;
        Ok(Orders {
            orders: orders.iter().map(Order::from).collect(),
        })
    });
    orders.await.map(Answer)
}

/// Confirm an order: the key is revoked
///
/// By a manager who has not ordered it.
#[utoipa::path(post, path = "/admin/v1/revocation-orders/{order}/confirm", tag = "revocation",
    operation_id = "confirmRevocation", request_body = Why,
    params(("order" = String, Path, description = "The order's digest")),
    security(("bearer" = ["keyward.keys:revoke"])),
    responses((status = 200, description = "Done", body = Change), Problems))]
pub(super) async fn confirm(
    State(shared): State<Arc<Shared>>,
    Allowed(asker, _): Allowed<RevokeKeys>,
    Of(order): Of<Digest>,
    Json(why): Json<Why>,
) -> Result<Answer<Change>, Problem> {
    let intent = intent(Action::ConfirmRevocation, None);
    let changed = shared.keep(asker, intent, move |keeper, _| {
        let reason = why.reason.as_deref();
        let changed = keeper.change(reason, |registry, by| {
            registry.confirm_revocation(order, by)
        })?;
        told(keeper, &changed)
    });
    changed.await.map(Answer)
}

/// Revoke a key at once, alone
///
/// Another manager has to review it before the next emergency.
#[utoipa::path(post, path = "/admin/v1/keys/{id}/emergency-revocation", tag = "revocation",
    operation_id = "revokeInEmergency", request_body = Reason,
    params(("id" = String, Path, description = "The key's id")),
    security(("bearer" = ["keyward.keys:revoke"])),
    responses((status = 200, description = "Done", body = Change), Problems))]
pub(super) async fn emergency(
    State(shared): State<Arc<Shared>>,
    Allowed(asker, _): Allowed<RevokeKeys>,
    Of(id): Of<KeyId>,
    Json(why): Json<Reason>,
) -> Result<Answer<Change>, Problem> {
    let intent = intent(Action::Emergency, Some(id));
    let changed = shared.keep(asker, intent, move |keeper, _| {
        let changed = keeper.change(Some(&why.reason), |registry, by| {
            registry.revoke_in_emergency(id, by)
        })?;
        told(keeper, &changed)
    });
    changed.await.map(Answer)
}

/// Review an emergency of somebody else
#[utoipa::path(post, path = "/admin/v1/keys/{id}/emergency-review", tag = "revocation",
    operation_id = "reviewEmergency", request_body = Reason,
    params(("id" = String, Path, description = "The key's id")),
    security(("bearer" = ["keyward.keys:revoke"])),
    responses((status = 200, description = "Done", body = Event), Problems))]
pub(super) async fn review(
    State(shared): State<Arc<Shared>>,
    Allowed(asker, _): Allowed<RevokeKeys>,
    Of(id): Of<KeyId>,
    Json(why): Json<Reason>,
) -> Result<Answer<Event>, Problem> {
    let intent = intent(Action::Review, Some(id));
    let event = shared.keep(asker, intent, move |keeper, _| {
        let event = keeper.change(Some(&why.reason), |registry, by| {
            registry.review_emergency(id, by)
        })?;
        Ok(Event::from(&event))
    });
    event.await.map(Answer)
}
