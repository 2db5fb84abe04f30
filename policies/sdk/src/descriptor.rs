//! What a policy says of itself: who it is, what it needs, and every code and name that its
//! verdicts may carry.
//!
//! All of it is constant, so that describing a policy cannot depend on anything. Codes and names
//! are made by [`reasons!`](crate::reasons), [`signals!`](crate::signals) and
//! [`obligations!`](crate::obligations), which put each one into the list for the descriptor.

/// A policy's description. Fill what is needed and take the rest from [`Descriptor::EMPTY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// `namespace:name`.
    pub name: &'static str,
    /// Semantic version; `env!("CARGO_PKG_VERSION")` is the usual value.
    pub version: &'static str,
    /// One sentence for the operator.
    pub summary: &'static str,
    /// Open attributes that it reads. The host answers any other with nothing.
    pub needs: &'static [AttributeNeed],
    /// The list of [`reasons!`](crate::reasons).
    pub reasons: &'static [ReasonTemplate],
    /// The list of [`signals!`](crate::signals).
    pub signals: &'static [SignalName],
    /// The list of [`obligations!`](crate::obligations).
    pub obligations: &'static [ObligationName],
    /// JSON Schema (2020-12) of the settings; empty when the policy takes none.
    pub settings_schema: &'static str,
}

/// An open attribute that a policy reads, for example `geo.country`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttributeNeed {
    /// Its name.
    pub name: &'static str,
    /// Whether the host denies, without calling the policy, when it has no value.
    pub required: bool,
}

/// A declared reason: `{name}` in the text stands for the parameter of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReasonTemplate {
    // INVARIANT: only `reasons!` makes one, so each stands in a list for the descriptor.
    code: &'static str,
    text: &'static str,
    remedy: &'static str,
}

/// The name of a declared signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalName(&'static str);

/// The name of a declared obligation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObligationName(&'static str);

impl Descriptor {
    /// No name, no needs, nothing declared, no settings.
    pub const EMPTY: Self = Self {
        name: "",
        version: "",
        summary: "",
        needs: &[],
        reasons: &[],
        signals: &[],
        obligations: &[],
        settings_schema: "",
    };
}

impl ReasonTemplate {
    /// For [`reasons!`](crate::reasons).
    #[doc(hidden)]
    #[must_use]
    pub const fn declared(code: &'static str, text: &'static str, remedy: &'static str) -> Self {
        Self { code, text, remedy }
    }

    /// The stable code, for example `scope.missing`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.code
    }

    /// The text with its placeholders.
    #[must_use]
    pub const fn text(self) -> &'static str {
        self.text
    }

    /// What the key's owner can do about it.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        self.remedy
    }
}

impl SignalName {
    /// For [`signals!`](crate::signals).
    #[doc(hidden)]
    #[must_use]
    pub const fn declared(name: &'static str) -> Self {
        Self(name)
    }

    /// The name as governance knows it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl ObligationName {
    /// For [`obligations!`](crate::obligations).
    #[doc(hidden)]
    #[must_use]
    pub const fn declared(name: &'static str) -> Self {
        Self(name)
    }

    /// The name as the gateway knows it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// Declares a policy's reasons: a constant for each, and the list of them all for the descriptor.
///
/// ```
/// keyward_policy::reasons! { REASONS:
///     GRANTED "demo.granted" {
///         text: "the grant `{grant}` covers it",
///         remedy: "nothing to do",
///     }
/// }
/// assert_eq!(REASONS, [GRANTED]);
/// ```
#[macro_export]
macro_rules! reasons {
    ($list:ident: $(
        $name:ident $code:literal { text: $text:expr, remedy: $remedy:expr $(,)? }
    )*) => {
        $(const $name: $crate::ReasonTemplate =
            $crate::ReasonTemplate::declared($code, $text, $remedy);)*
        const $list: &[$crate::ReasonTemplate] = &[$($name),*];
    };
}

/// Declares the signals that a policy raises: a constant for each, and the list of them all.
///
/// ```
/// keyward_policy::signals! { SIGNALS: ODD_HOUR "odd-hour" }
/// assert_eq!(SIGNALS, [ODD_HOUR]);
/// ```
#[macro_export]
macro_rules! signals {
    ($list:ident: $($name:ident $signal:literal)*) => {
        $(const $name: $crate::SignalName = $crate::SignalName::declared($signal);)*
        const $list: &[$crate::SignalName] = &[$($name),*];
    };
}

/// Declares the obligations that a policy imposes: a constant for each, and the list of them all.
///
/// ```
/// keyward_policy::obligations! { OBLIGATIONS: WATERMARK "watermark" }
/// assert_eq!(OBLIGATIONS, [WATERMARK]);
/// ```
#[macro_export]
macro_rules! obligations {
    ($list:ident: $($name:ident $obligation:literal)*) => {
        $(const $name: $crate::ObligationName = $crate::ObligationName::declared($obligation);)*
        const $list: &[$crate::ObligationName] = &[$($name),*];
    };
}
