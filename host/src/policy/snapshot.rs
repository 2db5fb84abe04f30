//! Snapshots: a component with its settings already in it.
//!
//! `configure` runs once; the memory and globals that it leaves are written back into the component
//! (by `wasmtime-wizer`), so that every evaluation starts from the same configured state without
//! configuring again. Not every component can be snapshotted; the caller then configures each
//! instance.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wasmtime::Store;
use wasmtime::component::{ComponentType, Instance, Lift};
use wasmtime_wizer::{ComponentContext, ComponentInstanceState, Wizer};

use super::interface::State;

/// A component that can be snapshotted: the original with accessors to its state added.
pub(super) struct Instrumented<'a> {
    context: ComponentContext<'a>,
    /// The bytes to compile and configure.
    pub(super) wasm: Vec<u8>,
}

/// Adds the accessors, or says that this component cannot be snapshotted.
pub(super) fn instrument(component: &[u8]) -> Option<Instrumented<'_>> {
    // The crate answers some unusual components with a panic (a v128 global, for one). That is a
    // component that cannot be snapshotted, no more.
    let instrumented = catch_unwind(|| wizer().instrument_component(component)).ok()?;
    let (context, wasm) = instrumented.ok()?;
    Some(Instrumented { context, wasm })
}

/// The component with the state of a configured instance of `instrumented` written into it, or
/// `None` when it cannot be.
pub(super) fn snapshot(
    instrumented: &Instrumented<'_>,
    store: &mut Store<State>,
    instance: Instance,
) -> Option<Vec<u8>> {
    let mut reader = StateReader {
        store,
        instance,
        failed: false,
    };
    let wizer = wizer();
    let wasm = catch_unwind(AssertUnwindSafe(|| {
        poll_once(wizer.snapshot_component(&instrumented.context, &mut reader))
    }))
    .ok()??
    .ok()?;
    (!reader.failed).then_some(wasm)
}

fn wizer() -> Wizer {
    let mut wizer = Wizer::new();
    // `configure` stays, so that the snapshot is still a component of the same world.
    wizer.keep_init_func(true);
    wizer
}

/// Runs a future that never waits.
fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Calls the accessors. One that fails leaves a mark, and the snapshot is not used.
struct StateReader<'a> {
    store: &'a mut Store<State>,
    instance: Instance,
    failed: bool,
}

impl StateReader<'_> {
    fn call<R: ComponentType + Lift + 'static>(&mut self, instance: &str, func: &str) -> Option<R> {
        let value = self.try_call(instance, func);
        self.failed |= value.is_none();
        value
    }

    fn try_call<R: ComponentType + Lift + 'static>(
        &mut self,
        instance: &str,
        func: &str,
    ) -> Option<R> {
        let exports = self
            .instance
            .get_export_index(&mut *self.store, None, instance)?;
        let func = self
            .instance
            .get_export_index(&mut *self.store, Some(&exports), func)?;
        let func = self
            .instance
            .get_typed_func::<(), (R,)>(&mut *self.store, func)
            .ok()?;
        func.call(&mut *self.store, ()).ok().map(|(value,)| value)
    }
}

impl ComponentInstanceState for StateReader<'_> {
    async fn call_func_ret_list_u8(
        &mut self,
        instance: &str,
        func: &str,
        contents: impl FnOnce(&[u8]) + Send,
    ) {
        contents(&self.call::<Vec<u8>>(instance, func).unwrap_or_default());
    }

    async fn call_func_ret_s32(&mut self, instance: &str, func: &str) -> i32 {
        self.call(instance, func).unwrap_or_default()
    }

    async fn call_func_ret_s64(&mut self, instance: &str, func: &str) -> i64 {
        self.call(instance, func).unwrap_or_default()
    }

    async fn call_func_ret_f32(&mut self, instance: &str, func: &str) -> u32 {
        self.call::<f32>(instance, func)
            .unwrap_or_default()
            .to_bits()
    }

    async fn call_func_ret_f64(&mut self, instance: &str, func: &str) -> u64 {
        self.call::<f64>(instance, func)
            .unwrap_or_default()
            .to_bits()
    }
}
