//! From a file's bytes to a policy that can be evaluated: every check of a load, in order.

use std::collections::BTreeSet;
use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::types::{Component as ComponentType, ComponentItem};
use wasmtime::component::{Component, Instance, Linker};

use super::budget::Limits;
use super::descriptor::{DESCRIPTOR_MAX_BYTES, Descriptor};
use super::engine::{EPOCH_TICK_MS, Engine};
use super::fault::fault_of;
use super::interface::bindings::{Policy as World, PolicyPre};
use super::interface::{State, add_to_linker};
use super::settings::{self, SettingProblem};
use super::snapshot::{self, Instrumented};
use super::{Inspection, LoadError, PolicySpec};
use crate::digest::Digest;

/// The largest component, in bytes.
pub const MODULE_MAX_BYTES: usize = 32 << 20;

/// A component that passed every check, ready to make instances.
pub(super) struct Loaded {
    pub(super) descriptor: Descriptor,
    pub(super) compiled: Compiled,
    /// The digest of the snapshot; `None` when each instance has to be configured.
    pub(super) snapshot: Option<Digest>,
}

/// A component ready to make instances, and how long it is.
pub(super) struct Compiled {
    pub(super) pre: PolicyPre<State>,
    pub(super) bytes: u64,
}

/// Loads a policy: component, imports, descriptor, settings, snapshot.
pub(super) fn load(engine: &Engine, spec: &PolicySpec) -> Result<Loaded, LoadError> {
    if !spec.limits.are_in_bounds() {
        return Err(LoadError::Limits);
    }
    if spec.module.len() > MODULE_MAX_BYTES {
        return Err(LoadError::Module(too_large()));
    }
    let instrumented = snapshot::instrument(&spec.module);
    let bytes = instrumented
        .as_ref()
        .map_or(&*spec.module, |instrumented| &instrumented.wasm);
    let component = compile(engine, bytes)?;
    check_imports(engine, &component.component_type())?;
    let compiled = Compiled::new(engine, &component, bytes)?;
    let descriptor = describe(engine, &compiled, &spec.limits)?;
    check_settings(&descriptor, &spec.settings)?;
    let snapshot = configure(engine, &compiled, spec, instrumented.as_ref())?;
    let compiled = match (&snapshot, &instrumented) {
        (Some(snapshot), _) => Compiled::new(engine, &compile(engine, snapshot)?, snapshot)?,
        // Without accessors: what runs is then the module as it was given.
        (None, Some(_)) => Compiled::new(engine, &compile(engine, &spec.module)?, &spec.module)?,
        (None, None) => compiled,
    };
    Ok(Loaded {
        descriptor,
        compiled,
        snapshot: snapshot.as_deref().map(Digest::of),
    })
}

impl Compiled {
    fn new(engine: &Engine, component: &Component, bytes: &[u8]) -> Result<Self, LoadError> {
        Ok(Self {
            pre: link(engine, component)?,
            bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        })
    }

    /// A store for one instance, with its budgets set. Fuel covers instantiation until the caller
    /// sets it again: `configure_fuel`, and one more for each byte, since the engine takes one for
    /// each byte of data that it copies.
    pub(super) fn store(&self, engine: &Engine, limits: &Limits, state: State) -> Store<State> {
        let mut store = Store::new(&engine.wasm, state);
        store.limiter(|state| &mut state.meter);
        store.set_epoch_deadline(limits.deadline_ms.div_ceil(EPOCH_TICK_MS).saturating_add(1));
        set_fuel(&mut store, limits.configure_fuel.saturating_add(self.bytes));
        store
    }

    /// A store for `describe` and `configure`: no questions, ten times the time.
    fn load_store(&self, engine: &Engine, limits: &Limits) -> Store<State> {
        let limits = Limits {
            deadline_ms: limits.deadline_ms.saturating_mul(10),
            ..*limits
        };
        self.store(engine, &limits, State::new(&limits, Arc::default()))
    }
}

fn too_large() -> String {
    format!("it is larger than {MODULE_MAX_BYTES} bytes")
}

/// Reads the descriptor of a component and what it imports, without settings.
pub(super) fn inspect(engine: &Engine, module: &[u8]) -> Result<Inspection, LoadError> {
    if module.len() > MODULE_MAX_BYTES {
        return Err(LoadError::Module(too_large()));
    }
    let component = compile(engine, module)?;
    check_imports(engine, &component.component_type())?;
    let compiled = Compiled::new(engine, &component, module)?;
    let descriptor = describe(engine, &compiled, &Limits::default())?;
    Ok(Inspection {
        descriptor,
        imports: imports(engine, &component.component_type()),
    })
}

/// The functions that a component imports, `keyward:policy/request@0.1.0 key-scopes`.
fn imports(engine: &Engine, component: &ComponentType) -> Vec<String> {
    let mut functions = Vec::new();
    for (interface, item) in component.imports(&engine.wasm) {
        if let ComponentItem::ComponentInstance(instance) = item.ty {
            let exports = instance.exports(&engine.wasm);
            let names =
                exports.filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)));
            functions.extend(names.map(|(name, _)| format!("{interface} {name}")));
        }
    }
    functions
}

fn compile(engine: &Engine, bytes: &[u8]) -> Result<Component, LoadError> {
    if wasmtime::Engine::detect_precompiled(bytes).is_some() {
        return Err(LoadError::Module(
            "it is precompiled code, not a component".to_owned(),
        ));
    }
    let error = match Component::from_binary(&engine.wasm, bytes) {
        Ok(component) => return Ok(component),
        Err(error) => error,
    };
    Err(LoadError::Module(match bytes {
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => {
            "it is a core module, not a component; build it with `keyward policy build`".to_owned()
        }
        [b'\0', b'a', b's', b'm', ..] => format!("it is damaged or not supported: {error:#}"),
        _ => "it is not a wasm component".to_owned(),
    }))
}

/// A policy may import the interfaces of `keyward:policy` and nothing else.
fn check_imports(engine: &Engine, component: &ComponentType) -> Result<(), LoadError> {
    let allowed = |name: &str| {
        let interface = name.strip_prefix("keyward:policy/");
        let interface = interface.and_then(|name| name.split('@').next());
        // `types` holds types only; the linker, which defines no function there, holds it to that.
        matches!(interface, Some("request" | "log" | "types"))
    };
    let refused: Vec<String> = (component.imports(&engine.wasm))
        .map(|(name, _)| name.to_owned())
        .filter(|name| !allowed(name))
        .collect();
    if refused.is_empty() {
        Ok(())
    } else {
        Err(LoadError::Imports(refused))
    }
}

fn link(engine: &Engine, component: &Component) -> Result<PolicyPre<State>, LoadError> {
    let fail = |error: wasmtime::Error| LoadError::Interface(format!("{error:#}"));
    let mut linker = Linker::new(&engine.wasm);
    add_to_linker(&mut linker).map_err(fail)?;
    let pre = linker.instantiate_pre(component).map_err(fail)?;
    PolicyPre::new(pre).map_err(fail)
}

/// Sets what is left to burn.
pub(super) fn set_fuel(store: &mut Store<State>, fuel: u64) {
    // Fails only on an engine without fuel, which `engine::config` rules out; the store then has
    // none and the next call ends at once.
    drop(store.set_fuel(fuel));
}

fn describe(
    engine: &Engine,
    compiled: &Compiled,
    limits: &Limits,
) -> Result<Descriptor, LoadError> {
    let mut store = compiled.load_store(engine, limits);
    store.set_hostcall_fuel(DESCRIPTOR_MAX_BYTES);
    let given = (compiled.pre.instantiate(&mut store))
        .and_then(|world| world.keyward_policy_decide().call_describe(&mut store))
        .map_err(|error| LoadError::Failed {
            call: "describe",
            fault: fault_of(&error),
        })?;
    Descriptor::check(given).map_err(LoadError::Descriptor)
}

fn check_settings(descriptor: &Descriptor, settings: &str) -> Result<(), LoadError> {
    let settings = serde_json::from_str(settings)
        .map_err(|error| LoadError::Descriptor(format!("the settings are not JSON: {error}")))?;
    let schema = &descriptor.settings_schema;
    let problems = settings::check(schema, &settings)
        .map_err(|error| LoadError::Descriptor(format!("its settings schema is bad: {error}")))?;
    if problems.is_empty() {
        Ok(())
    } else {
        Err(LoadError::Settings(problems))
    }
}

/// Configures one instance and takes the snapshot, where that can be done.
fn configure(
    engine: &Engine,
    compiled: &Compiled,
    spec: &PolicySpec,
    instrumented: Option<&Instrumented<'_>>,
) -> Result<Option<Vec<u8>>, LoadError> {
    let mut store = compiled.load_store(engine, &spec.limits);
    let failed = |error| LoadError::Failed {
        call: "configure",
        fault: fault_of(&error),
    };
    let pre = compiled.pre.instance_pre();
    let instance: Instance = pre.instantiate(&mut store).map_err(failed)?;
    let world = World::new(&mut store, &instance).map_err(failed)?;
    call_configure(&world, &mut store, &spec.settings)
        .map_err(failed)?
        .map_err(LoadError::Settings)?;
    // Reading the state costs fuel and passes the whole memory, which is within its own budget.
    set_fuel(&mut store, u64::MAX);
    store.set_hostcall_fuel(usize::MAX);
    Ok(
        instrumented
            .and_then(|instrumented| snapshot::snapshot(instrumented, &mut store, instance)),
    )
}

/// Calls `configure`: the outer error ends the call, the inner one is the policy's own.
pub(super) fn call_configure(
    world: &World,
    store: &mut Store<State>,
    settings: &str,
) -> wasmtime::Result<Result<(), Vec<SettingProblem>>> {
    store.set_hostcall_fuel(DESCRIPTOR_MAX_BYTES);
    let answer = world
        .keyward_policy_decide()
        .call_configure(store, settings)?;
    Ok(answer.map_err(|errors| {
        let problem =
            |error: super::interface::bindings::exports::keyward::policy::decide::SettingError| {
                SettingProblem {
                    pointer: error.path,
                    message: error.message,
                }
            };
        errors.into_iter().map(problem).collect()
    }))
}

/// The names that a policy may ask `attribute` for.
pub(super) fn needs(descriptor: &Descriptor) -> Arc<BTreeSet<Arc<str>>> {
    Arc::new(
        descriptor
            .needs
            .iter()
            .map(|need| Arc::clone(&need.name))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_it_refuses() {
        let engine = Engine::new(None).unwrap();
        let component = r#"(component
            (import "wasi:clocks/wall-clock@0.2.0" (instance))
            (import "keyward:policy/request@0.1.0" (instance))
            (import "keyward:policy/secrets@0.1.0" (instance)))"#;
        let component = compile(&engine, &wat::parse_str(component).unwrap()).unwrap();
        assert!(matches!(
            check_imports(&engine, &component.component_type()),
            Err(LoadError::Imports(refused))
                if refused == ["wasi:clocks/wall-clock@0.2.0", "keyward:policy/secrets@0.1.0"]
        ));
    }
}
