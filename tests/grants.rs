//! What somebody may give to keys, and the checks that no way round leads past: the real command.

use crate::scopes::{add, issue, principal, shown};
use crate::util::Folder;

/// Sets what the scope policy says that one action implies.
fn imply(folder: &Folder, implies: &str) {
    let toml = folder.read("keyward.toml");
    let line = toml.lines().find(|it| it.starts_with("implies = "));
    let toml = toml.replace(line.unwrap(), &format!("implies = {implies}"));
    folder.write("keyward.toml", toml);
}

/// What a grant covers, the scope policy's settings say, before a change as at use.
#[test]
fn what_is_more_is_more_by_the_settings_of_the_scope_policy() {
    let folder = Folder::quickstart_with_database();
    let id = issue(&folder, &["inventory:write"], &[]);
    add(
        &folder,
        &principal("\"operator\"", "may_grant = [\"inventory:write\"]"),
    );
    let new = ["key", "issue", "--owner", "x", "--expires-in-days", "30"];
    let new = [&new[..], &["--scope", "inventory:read"]].concat();
    let narrower = ["key", "scopes", &id, "--set", "inventory:read"];
    imply(&folder, "{}");
    let ran = folder.run(&new).exit(2);
    let beyond = "`ann` may not grant `inventory:read`";
    assert!(ran.err.contains(beyond), "{ran:?}");
    let ran = folder.run(&narrower).exit(2);
    assert!(
        ran.err.contains("`ann` may not grant a key more"),
        "{ran:?}"
    );
    // By way of another action it is implied all the same.
    imply(&folder, "{ write = [\"edit\"], edit = [\"read\"] }");
    folder.run(&new).exit(0);
    imply(&folder, "{ write = [\"read\"] }");
    folder.run(&new).exit(0);
    folder.run(&narrower).exit(0);
    assert_eq!(shown(&folder, &id), (vec!["inventory:read".to_owned()], 2));
    let history = folder.run(&["key", "history", &id]).exit(0);
    assert!(history.out.contains("scopes-narrowed"), "{history:?}");
}

/// Without it, what was needed is not seen to be within what is granted.
#[test]
fn what_is_not_needed_is_told_by_the_settings_of_the_scope_policy() {
    let folder = Folder::quickstart_with_database();
    let id = issue(&folder, &["inventory:write", "invoices:read"], &[]);
    crate::scopes::request(
        &folder,
        &id,
        &[("GET", "/inventory/1", crate::scopes::HERE)],
    );
    let args = ["key", "scopes", &id, "--unused", "90d"];
    let enough = |scope: &str| format!("keyward key scopes {id} --set {scope}\n");
    let ran = folder.run(&args).exit(0);
    assert!(ran.out.contains(&enough("inventory:read")), "{ran:?}");
    imply(&folder, "{}");
    let ran = folder.run(&args).exit(0);
    assert!(ran.out.contains(&enough("inventory:write")), "{ran:?}");
}
