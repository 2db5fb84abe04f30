//! The route table: what matches, what comes first, and what is refused when it is read.

use super::*;
use proptest::prelude::*;

fn route(method: &str, path: &str, scope: &str) -> Route {
    let methods = method
        .split(' ')
        .filter(|it| !it.is_empty())
        .map(str::to_owned)
        .collect();
    Route {
        methods,
        path: path.into(),
        scope: scope.into(),
        ..Route::default()
    }
}

fn scope(table: &RouteTable, method: &str, host: &str, path: &str) -> Option<String> {
    let path = CanonicalPath::parse(path).unwrap();
    let found = table.required_scope(method, host, &path).unwrap();
    found.scope.map(|scope| scope.to_string())
}

#[test]
fn the_first_that_matches_decides() {
    let table = RouteTable::new(&[
        route("GET", "/inventory/{item}", "inventory:read"),
        route("GET", "/inventory/special", "inventory:special"),
        route("*", "/inventory/{item}", "inventory:write"),
        route("POST put", "/inventory", "inventory:create"),
        route("*", "/files/{rest...}", "files:any"),
        route("*", "/files/public/logo", "files:logo"),
        route("GET", "/a/{x}/c", "a:one"),
        route("GET", "/a/b/{y}", "a:two"),
        route("GET", "/slash/", "slash:read"),
    ])
    .unwrap();
    assert_eq!(table.len(), 9);
    for (method, path, expected) in [
        ("GET", "/inventory/42", Some("inventory:read")),
        ("GET", "/inventory/special", Some("inventory:read")),
        ("DELETE", "/inventory/special", Some("inventory:write")),
        ("POST", "/inventory", Some("inventory:create")),
        ("PUT", "/inventory", Some("inventory:create")),
        ("GET", "/inventory", None),
        ("GET", "/inventory/", None),
        ("GET", "/Inventory/42", None),
        ("get", "/inventory/42", Some("inventory:write")),
        ("GET", "/inventory/42/images", None),
        ("GET", "/inventory/x/../42", Some("inventory:read")),
        ("GET", "/files", None),
        ("GET", "/files/", Some("files:any")),
        ("GET", "/files/a/b/", Some("files:any")),
        ("GET", "/files/public/logo", Some("files:any")),
        ("GET", "/a/b/c", Some("a:one")),
        ("GET", "/a/b/d", Some("a:two")),
        ("GET", "/a/x/d", None),
        ("GET", "/slash", None),
        ("GET", "/slash/", Some("slash:read")),
        ("GET", "/", None),
    ] {
        assert_eq!(
            scope(&table, method, "", path).as_deref(),
            expected,
            "{method} {path}"
        );
    }
}

#[test]
fn a_host_narrows_a_route() {
    let with_host = |host: &str, scope: &str| Route {
        host: Some(host.into()),
        ..route("*", "/{rest...}", scope)
    };
    let table = RouteTable::new(&[
        with_host("API.example.com:8443", "api:use"),
        with_host("[2001:DB8::1]", "six:use"),
        route("*", "/{rest...}", "other:use"),
    ])
    .unwrap();
    for (host, expected) in [
        ("api.example.com", "api:use"),
        ("[2001:db8::1]", "six:use"),
        ("example.com", "other:use"),
        ("", "other:use"),
    ] {
        assert_eq!(
            scope(&table, "GET", host, "/").as_deref(),
            Some(expected),
            "{host}"
        );
    }
}

#[test]
fn says_which_route_decided() {
    let table = RouteTable::new(&[route("*", "/a", "a:b"), route("*", "/b", "c:d")]).unwrap();
    let ask = |path| table.required_scope("GET", "", &CanonicalPath::parse(path).unwrap());
    assert_eq!(
        ask("/b"),
        Ok(RouteMatch {
            route: Some(1),
            scope: Some(&"c:d".into())
        })
    );
    assert_eq!(ask("/c"), Ok(RouteMatch::default()));
}

#[test]
fn parameters_need_a_route_that_allows_them() {
    let allowing = |path: &str| Route {
        allow_parameters: true,
        ..route("*", path, "p:allow")
    };
    let table = RouteTable::new(&[
        route("*", "/no/{x}", "p:no"),
        allowing("/yes/{x}/end"),
        allowing("/yes/rest/{rest...}"),
        allowing("/{rest...}"),
    ])
    .unwrap();
    let ask = |path: &str| {
        let path = CanonicalPath::parse(path).unwrap();
        table
            .required_scope("GET", "", &path)
            .map(|found| found.route)
    };
    for (path, expected) in [
        ("/no/x", Ok(Some(0))),
        ("/no/x;v=1", Err(PathRefusal::Parameters)),
        ("/no;v=1/x", Err(PathRefusal::Parameters)),
        ("/no/x%3Bv=1", Err(PathRefusal::Parameters)),
        ("/yes/x;a;b/end;c", Ok(Some(1))),
        ("/yes;s/rest/x;v", Ok(Some(2))),
        ("/else;x", Ok(Some(3))),
    ] {
        assert_eq!(ask(path), expected, "{path}");
    }
    let none = RouteTable::default();
    let path = CanonicalPath::parse("/a;b").unwrap();
    assert_eq!(
        none.required_scope("GET", "", &path),
        Err(PathRefusal::Parameters)
    );
}

#[test]
fn reports_every_problem_of_every_route() {
    let errors = RouteTable::new(&[
        route("*", "/ok", "a:b"),
        Route {
            host: Some("a b".into()),
            ..route("G(T", "no-slash", "A:b")
        },
        route("", "/x", "a:*"),
        route("GET *", "/y", "a:b"),
        Route {
            host: Some(String::new()),
            ..route("*", "/z", "a:b")
        },
    ])
    .unwrap_err();
    let found: Vec<_> = errors
        .0
        .iter()
        .map(|error| (error.route, error.problem.key()))
        .collect();
    let expected = [
        (1, "path"),
        (1, "host"),
        (1, "method"),
        (1, "scope"),
        (2, "method"),
        (2, "scope"),
        (3, "method"),
        (4, "host"),
    ];
    assert_eq!(found, expected);
    assert!(
        errors
            .to_string()
            .starts_with("route 2: the path does not start with `/`; route 2: ")
    );
}

#[test]
fn a_route_that_an_earlier_one_hides_is_an_error() {
    let host = |route: Route, host: &str| Route {
        host: Some(host.into()),
        ..route
    };
    let hidden = |first: Route, second: Route| match RouteTable::new(&[first, second]) {
        Ok(_) => false,
        Err(errors) => {
            let problem = RouteProblem::Unreachable(0);
            assert_eq!(errors.0, [RouteError { route: 1, problem }]);
            true
        }
    };
    let get = || route("GET", "/a/{x}", "a:b");
    assert!(hidden(get(), get()));
    assert!(hidden(get(), route("get", "/a/{y}", "c:d")));
    assert!(hidden(route("GET POST", "/a/{x}", "a:b"), get()));
    assert!(hidden(route("*", "/a/{x}", "a:b"), get()));
    assert!(hidden(get(), host(get(), "a")));
    assert!(hidden(host(get(), "a"), host(get(), "A:80")));
    assert!(hidden(
        route("*", "/{r...}", "a:b"),
        route("*", "/{s...}", "a:b")
    ));
    assert!(!hidden(get(), route("*", "/a/{x}", "a:b")));
    assert!(!hidden(get(), route("GET POST", "/a/{x}", "a:b")));
    assert!(!hidden(host(get(), "a"), get()));
    assert!(!hidden(host(get(), "a"), host(get(), "b")));
    assert!(!hidden(get(), route("GET", "/a/{x}/", "a:b")));
}

#[test]
fn a_table_is_bounded() {
    let routes = |count: usize| -> Vec<_> {
        (0..count)
            .map(|index| route("*", &format!("/{index}"), "a:b"))
            .collect()
    };
    let errors = RouteTable::new(&routes(ROUTES_MAX + 1)).unwrap_err();
    assert_eq!(
        errors.0,
        [RouteError {
            route: ROUTES_MAX,
            problem: RouteProblem::TooMany
        }]
    );
    assert!(RouteTable::new(&routes(ROUTES_MAX)).is_ok());
    let many = route(&"A ".repeat(ROUTE_METHODS_MAX + 1), "/", "a:b");
    let errors = RouteTable::new(&[many]).unwrap_err();
    assert_eq!(
        errors.0,
        [RouteError {
            route: 0,
            problem: RouteProblem::Methods
        }]
    );
}

#[test]
fn knows_an_exact_scope() {
    let part = "a".repeat(SCOPE_PART_MAX_BYTES);
    let longest = format!("{part}.{part}.{part}:{}", "a".repeat(61));
    assert_eq!(longest.len(), SCOPE_MAX_BYTES);
    for text in ["a:b", "inventory.items:read", "0-_.a:9", &longest] {
        assert!(is_exact_scope(text), "{text}");
    }
    for text in [
        "",
        ":",
        "a",
        "a:",
        ":b",
        "a:b:c",
        "A:b",
        "a:B",
        "a.:b",
        ".a:b",
        "a..b:c",
        "a:*",
        "*:a",
        "a.*:b",
        "-a:b",
        "a:_b",
        "a b:c",
        "é:a",
        " a:b",
        &format!("{longest}a"),
        &format!("{part}a:b"),
        &format!("b:{part}a"),
    ] {
        assert!(!is_exact_scope(text), "{text}");
    }
}

/// The meaning of the table, read off the patterns one by one.
fn first_by_hand(routes: &[Route], method: &str, path: &str) -> Option<usize> {
    let matches = |pattern: &str| {
        let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
        loop {
            match (pattern.next(), path.next()) {
                (None, None) => return true,
                (Some(piece), Some(_)) if piece.ends_with("...}") => return true,
                (Some(piece), Some(segment)) if piece.starts_with('{') && !segment.is_empty() => {}
                (Some(piece), Some(segment)) if piece == segment => {}
                _ => return false,
            }
        }
    };
    routes.iter().position(|route| {
        (route.methods == ["*"] || route.methods.iter().any(|it| it == method))
            && matches(&route.path)
    })
}

proptest! {
    #[test]
    fn the_tree_finds_what_a_reader_finds(
        table in proptest::collection::vec(
            (
                prop::sample::select(vec!["GET", "POST", "GET POST", "*"]),
                proptest::collection::vec(prop::sample::select(vec!["a", "b", "{}"]), 0..4),
                prop::sample::select(vec!["", "/", "/{rest...}"]),
            ),
            0..24,
        ),
        paths in proptest::collection::vec("(/[abc]){0,5}/?", 1..16),
    ) {
        let mut routes: Vec<Route> = Vec::new();
        for (method, segments, end) in table {
            let named = |(index, segment): (usize, &str)| match segment {
                "{}" => format!("/{{n{index}}}"),
                text => format!("/{text}"),
            };
            let path: String = segments.into_iter().enumerate().map(named).collect();
            let path = format!("{path}{end}");
            routes.push(route(method, if path.is_empty() { "/" } else { &path }, "a:b"));
            if RouteTable::new(&routes).is_err() {
                routes.pop();
            }
        }
        let table = RouteTable::new(&routes).unwrap();
        for path in paths.iter().filter(|path| !path.is_empty()) {
            for method in ["GET", "POST", "PUT"] {
                let found = table
                    .required_scope(method, "", &CanonicalPath::parse(path).unwrap())
                    .unwrap();
                prop_assert_eq!(found.route, first_by_hand(&routes, method, path), "{}", path);
            }
        }
    }
}
