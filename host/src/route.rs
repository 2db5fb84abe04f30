//! The route table: which scope a request needs, by method, host and path.
//!
//! The first route in file order that matches decides, as a person reads the table from the top.
//! The look-up walks a tree of segments in which every node knows the earliest route below it, so
//! that a table of hundreds of routes costs as much as the path is long.

pub mod authority;
pub mod path;
pub mod pattern;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use crate::key::SCOPE_MAX_BYTES;

use authority::{HostError, MethodError, normal_host, normal_method};
use path::{CanonicalPath, PathRefusal, without_parameters};
use pattern::{PatternError, Piece};

/// The most routes of one table.
pub const ROUTES_MAX: usize = 4_096;
/// The most methods that one route lists.
pub const ROUTE_METHODS_MAX: usize = 32;
/// The longest segment of a scope's resource, and the longest action, in bytes.
pub const SCOPE_PART_MAX_BYTES: usize = 64;

/// One `[[route]]`, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Methods, in any case; `*` alone stands for every one.
    pub methods: Vec<String>,
    /// The host; `None`: every host.
    pub host: Option<String>,
    /// A path pattern: `{name}` is one segment that is not empty, `{name...}` everything behind
    /// its slash, also nothing: `/files/{rest...}` matches `/files/` and `/files/a/b`, not
    /// `/files`. Everything else is compared exactly, case included.
    pub path: String,
    /// The scope that a request needs, `resource:action`, without wildcards.
    pub scope: String,
    /// Whether a path may have `;` parameters, which are then taken away from each segment before
    /// it is compared.
    pub allow_parameters: bool,
}

/// Routes in order, checked and compiled.
#[derive(Clone, Debug)]
pub struct RouteTable {
    rules: Vec<Rule>,
    // INVARIANT: the first node is the root, and every index in a node is one of `nodes`.
    nodes: Vec<Node>,
}

/// What the table says about a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteMatch<'a> {
    /// Which route decided, counted from 0; `None`: none matched.
    pub route: Option<usize>,
    /// The scope that the request needs; `None`: none matched, and no scope is required.
    pub scope: Option<&'a Arc<str>>,
}

/// What is wrong with one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteError {
    /// Which route, counted from 0.
    pub route: usize,
    /// What is wrong with it.
    pub problem: RouteProblem,
}

/// Everything that is wrong with a table's routes, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteErrors(pub Vec<RouteError>);

/// Why a route cannot stand in a table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteProblem {
    /// `*` beside other methods, none at all, or too many.
    #[error("write 1 to {ROUTE_METHODS_MAX} methods, or `*` alone for every one")]
    Methods,
    /// Not a method.
    #[error("`{0}` is {1}")]
    Method(String, MethodError),
    /// Not a host.
    #[error("`{0}` is {1}")]
    Host(String, HostError),
    /// Not a path pattern.
    #[error(transparent)]
    Path(#[from] PatternError),
    /// Not an exact scope.
    #[error(
        "`{0}` is not a scope; write `resource:action` in lower case and without wildcards, for \
         example `inventory:read`"
    )]
    Scope(String),
    /// More routes than a table takes.
    #[error("there are more than {ROUTES_MAX} routes")]
    TooMany,
    /// An earlier route takes every request that this one could.
    #[error("never reached: route {} has the same path and takes the same requests", .0 + 1)]
    Unreachable(usize),
}

/// A route without its path, which the tree holds.
#[derive(Clone, Debug)]
struct Rule {
    /// Empty: every method.
    methods: Vec<Arc<str>>,
    host: Option<Arc<str>>,
    scope: Arc<str>,
    allow_parameters: bool,
}

/// Where the paths of some routes have the same beginning.
#[derive(Clone, Debug)]
struct Node {
    /// The earliest route here or below.
    earliest: usize,
    literals: HashMap<Box<str>, usize>,
    /// `{name}`.
    one: Option<usize>,
    /// Routes whose path ends here, in order.
    ends: Vec<usize>,
    /// Routes that take what is left, in order.
    rests: Vec<usize>,
}

impl RouteTable {
    /// Checks and compiles routes.
    ///
    /// # Errors
    /// [`RouteErrors`]: everything that is wrong, at most one problem for each part of a route.
    pub fn new(routes: &[Route]) -> Result<Self, RouteErrors> {
        if routes.len() > ROUTES_MAX {
            let problem = RouteProblem::TooMany;
            return Err(RouteErrors(vec![RouteError {
                route: ROUTES_MAX,
                problem,
            }]));
        }
        let mut table = Self::default();
        let mut errors = Vec::new();
        for (index, route) in routes.iter().enumerate() {
            let mut note = |problem| {
                errors.push(RouteError {
                    route: index,
                    problem,
                })
            };
            let pieces = pattern::parse(&route.path)
                .map_err(|error| note(error.into()))
                .ok();
            let rule = Rule::new(route, &mut note);
            // A broken route keeps its number, so that those of the others stay right.
            let rule = match (rule, pieces) {
                (Some(rule), Some(pieces)) => {
                    if let Some(earlier) = table.insert(index, &pieces, &rule) {
                        note(RouteProblem::Unreachable(earlier));
                    }
                    rule
                }
                _ => Rule::broken(),
            };
            table.rules.push(rule);
        }
        if errors.is_empty() {
            Ok(table)
        } else {
            Err(RouteErrors(errors))
        }
    }

    /// What the first matching route requires. `method` in upper case and `host` in lower case, as
    /// [`normal_method`] and [`normal_host`] give them.
    ///
    /// # Errors
    /// [`PathRefusal::Parameters`] when the path has `;` parameters and the route that matches does
    /// not allow them, or none matches.
    pub fn required_scope(
        &self,
        method: &str,
        host: &str,
        path: &CanonicalPath,
    ) -> Result<RouteMatch<'_>, PathRefusal> {
        let found = self.first(path.text(), |rule| rule.takes(method, host));
        let rule = found.and_then(|index| self.rules.get(index));
        if path.has_parameters() && !rule.is_some_and(|rule| rule.allow_parameters) {
            return Err(PathRefusal::Parameters);
        }
        Ok(RouteMatch {
            route: found,
            scope: rule.map(|rule| &rule.scope),
        })
    }

    /// How many routes there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rules.len()
    }

    /// The scopes that routes require, in the order of the routes; one may stand more than once.
    pub fn scopes(&self) -> impl Iterator<Item = &Arc<str>> {
        self.rules.iter().map(|rule| &rule.scope)
    }

    /// Whether there is no route, so that nothing requires a scope.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The earliest route whose path matches and whose rule takes the request. Every node of the
    /// tree is visited at most once.
    fn first(&self, path: &str, takes: impl Fn(&Rule) -> bool) -> Option<usize> {
        let pick = |routes: &[usize], best: usize| {
            let takes = |index: &usize| self.rules.get(*index).is_some_and(&takes);
            let found = routes
                .iter()
                .copied()
                .take_while(|index| *index < best)
                .find(takes);
            found.unwrap_or(best)
        };
        let mut best = usize::MAX;
        // A node, and what is left of the path behind its slash; `None`: the path ends there.
        let mut open: SmallVec<[_; 16]> = smallvec![(0, path.strip_prefix('/'))];
        while let Some((node, left)) = open.pop() {
            let Some(node) = self.nodes.get(node).filter(|node| node.earliest < best) else {
                continue;
            };
            let Some(left) = left else {
                best = pick(&node.ends, best);
                continue;
            };
            best = pick(&node.rests, best);
            let (segment, left) = match left.split_once('/') {
                Some((segment, left)) => (segment, Some(left)),
                None => (left, None),
            };
            let name = without_parameters(segment);
            let one = node.one.filter(|_| !name.is_empty());
            let literal = node.literals.get(name).copied();
            open.extend(one.into_iter().chain(literal).map(|node| (node, left)));
        }
        (best < usize::MAX).then_some(best)
    }

    /// Adds a route to the tree, or says which earlier one hides it.
    fn insert(&mut self, index: usize, pieces: &[Piece<'_>], rule: &Rule) -> Option<usize> {
        let mut at = 0;
        for piece in pieces {
            let next = self.nodes.len();
            let node = self.nodes.get_mut(at)?;
            at = match piece {
                Piece::Literal(text) => *node.literals.entry((*text).into()).or_insert(next),
                Piece::One => *node.one.get_or_insert(next),
                Piece::Rest => break,
            };
            if at == next {
                self.nodes.push(Node::new(index));
            }
        }
        let rules = &self.rules;
        let node = self.nodes.get_mut(at)?;
        let routes = if pieces.last() == Some(&Piece::Rest) {
            &mut node.rests
        } else {
            &mut node.ends
        };
        let covers = |earlier: &usize| rules.get(*earlier).is_some_and(|it| it.covers(rule));
        let earlier = routes.iter().copied().find(covers);
        if earlier.is_none() {
            routes.push(index);
        }
        earlier
    }
}

impl Default for RouteTable {
    /// No routes: no request needs a scope.
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            nodes: vec![Node::new(0)],
        }
    }
}

impl Rule {
    /// Reads what stands beside a route's path, noting what is wrong with it.
    fn new(route: &Route, note: &mut impl FnMut(RouteProblem)) -> Option<Self> {
        let host = route.host.as_deref().map(|host| match normal_host(host) {
            Ok(normal) if !normal.is_empty() => Some(normal),
            _ => {
                note(RouteProblem::Host(
                    host.escape_debug().to_string(),
                    HostError,
                ));
                None
            }
        });
        let methods = read_methods(&route.methods).map_err(&mut *note).ok();
        let scope = is_exact_scope(&route.scope).then(|| route.scope.as_str().into());
        if scope.is_none() {
            note(RouteProblem::Scope(route.scope.escape_debug().to_string()));
        }
        let host = match host {
            Some(Some(host)) => Some(host),
            Some(None) => return None,
            None => None,
        };
        Some(Self {
            methods: methods?,
            host,
            scope: scope?,
            allow_parameters: route.allow_parameters,
        })
    }

    /// What stands in for a route that could not be read; its table is never handed out.
    fn broken() -> Self {
        Self {
            methods: Vec::new(),
            host: None,
            scope: "".into(),
            allow_parameters: false,
        }
    }

    fn takes(&self, method: &str, host: &str) -> bool {
        (self.methods.is_empty() || self.methods.iter().any(|it| **it == *method))
            && self.host.as_deref().is_none_or(|it| it == host)
    }

    /// Whether every request that the other takes, on the same path, is this one's.
    fn covers(&self, other: &Self) -> bool {
        let methods = self.methods.is_empty()
            || (!other.methods.is_empty()
                && other
                    .methods
                    .iter()
                    .all(|method| self.methods.contains(method)));
        methods && (self.host.is_none() || self.host == other.host)
    }
}

impl Node {
    fn new(earliest: usize) -> Self {
        Self {
            earliest,
            literals: HashMap::new(),
            one: None,
            ends: Vec::new(),
            rests: Vec::new(),
        }
    }
}

impl RouteProblem {
    /// The key of `[[route]]` that it is about.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Methods | Self::Method(..) => "method",
            Self::Host(..) => "host",
            Self::Path(_) | Self::TooMany | Self::Unreachable(_) => "path",
            Self::Scope(_) => "scope",
        }
    }
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "route {}: {}",
            self.route.saturating_add(1),
            self.problem
        )
    }
}

impl fmt::Display for RouteErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for RouteError {}

impl std::error::Error for RouteErrors {}

/// Whether a text is a scope that a request can need: `resource:action`, the resource of one or
/// more segments joined by dots, each part 1 to 64 bytes of `[a-z0-9][a-z0-9_-]*`, and 256 bytes at
/// most in all. No wildcards: those are for grants.
#[must_use]
pub fn is_exact_scope(text: &str) -> bool {
    let is_part = |part: &str| {
        (1..=SCOPE_PART_MAX_BYTES).contains(&part.len())
            && !part.starts_with(['_', '-'])
            && part
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
    };
    text.len() <= SCOPE_MAX_BYTES
        && text
            .split_once(':')
            .is_some_and(|(resource, action)| resource.split('.').all(is_part) && is_part(action))
}

/// The methods of a route in upper case; empty for `*`.
fn read_methods(methods: &[String]) -> Result<Vec<Arc<str>>, RouteProblem> {
    if methods.is_empty() || methods.len() > ROUTE_METHODS_MAX {
        return Err(RouteProblem::Methods);
    }
    if methods.iter().any(|method| method == "*") {
        return if methods.len() == 1 {
            Ok(Vec::new())
        } else {
            Err(RouteProblem::Methods)
        };
    }
    let read = |text: &String| {
        normal_method(text)
            .map_err(|error| RouteProblem::Method(text.escape_debug().to_string(), error))
    };
    methods.iter().map(read).collect()
}

#[cfg(test)]
mod tests;
