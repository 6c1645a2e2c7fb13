//! What the folder holds, sweeps and leaves alone.

use super::*;

fn folder(home: &Path) -> Folder {
    Folder::open(home, 1 << 30, Arc::new(|_| {})).unwrap()
}

#[test]
fn only_our_names_are_databases() {
    let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [ours, other] = [&homes[0], &homes[1]].map(|home| folder(home.path()));
    let name = |folder: &Folder| {
        let path = folder.database(7);
        path.file_name().unwrap().to_str().unwrap().to_owned()
    };
    assert_eq!(ours.number_of(DATABASE, &name(&ours)), Some(7));
    for name in [
        &name(&other),
        &name(&ours).replace("07-", "08-"),
        "answers-00000000000000000007.db",
        "answers-00000000000000000007-0000000000000000.db",
        "new.db",
        "lock",
    ] {
        assert_eq!(ours.number_of(DATABASE, name), None, "{name}");
    }
}

#[test]
fn a_number_is_never_used_again() {
    let home = tempfile::tempdir().unwrap();
    let folder = folder(home.path());
    let first = folder.generations().unwrap();
    folder.clear().unwrap();
    let second = folder.generations().unwrap();
    assert_eq!((first.len(), second.len()), (1, 1));
    assert!(second > first);
    folder.begin_after(Some(second[0])).unwrap();
    assert_eq!(folder.generations().unwrap().len(), 2);
    // Somebody else has begun one after it already.
    folder.begin_after(Some(second[0])).unwrap();
    assert_eq!(folder.generations().unwrap().len(), 2);
}

/// What is in the folder but for its databases, lock and key.
fn others(folder: &Folder) -> Vec<String> {
    let mut names = folder.names().unwrap();
    names.retain(|name| {
        let known = folder.number_of(DATABASE, name).is_some();
        !known && name != "lock" && name != "answers.key"
    });
    names.sort();
    names
}

#[test]
fn what_a_killed_process_left_is_swept_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let first = folder(home.path());
    for path in [
        companions(&first.database(7)).next().unwrap(),
        first.named(UNFINISHED, 7),
        companions(&first.named(UNFINISHED, 7)).next().unwrap(),
    ] {
        fs::write(path, "left").unwrap();
    }
    // What other people may call their files.
    let names = [
        "answers-00000000000000000007.db",
        "answers-00000000000000000007.db-wal",
        "new.db-wal",
        "unfinished-00000000000000000007-0000000000000000.db",
    ];
    for name in names {
        fs::write(home.path().join(name), "mine").unwrap();
    }
    fs::create_dir(home.path().join("new.db")).unwrap();
    fs::write(home.path().join("new.db/mine"), "mine").unwrap();
    let second = folder(home.path());
    second.clear().unwrap();
    let mut expected = names.to_vec();
    expected.insert(2, "new.db");
    assert_eq!(others(&second), expected);
    assert!(home.path().join("new.db/mine").exists());
}

#[cfg(unix)]
#[test]
fn no_link_is_followed_or_removed() {
    use std::os::unix::fs::symlink;
    let home = tempfile::tempdir().unwrap();
    let (store, victim) = (home.path().join("store"), home.path().join("victim"));
    fs::write(&victim, "mine").unwrap();
    let first = folder(&store);
    let number = first.generations().unwrap()[0];
    let links = [
        companions(&first.database(number)).next().unwrap(),
        companions(&first.database(7)).next().unwrap(),
        first.database(u64::MAX / 4),
    ];
    for link in &links {
        symlink(&victim, link).unwrap();
    }
    assert!(
        database::open(
            &first.database(number),
            database::Access::Write,
            &first.secret()
        )
        .is_err()
    );
    drop(first);
    let _ = Folder::open(&store, 1 << 30, Arc::new(|_| {})).map(|folder| folder.clear());
    assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
    assert!(links.iter().all(|link| link.is_symlink()));
    let lock = store.join("lock");
    fs::remove_file(&lock).unwrap();
    symlink(home.path().join("made"), &lock).unwrap();
    let _ = Folder::open(&store, 1 << 30, Arc::new(|_| {}));
    assert!(!home.path().join("made").exists());
}

#[cfg(unix)]
#[test]
fn a_folder_that_others_may_write_in_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    let store = home.path().join("store");
    drop(folder(&store));
    let mode = fs::metadata(&store).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    fs::set_permissions(&store, fs::Permissions::from_mode(0o777)).unwrap();
    let error = Folder::open(&store, 1 << 30, Arc::new(|_| {}))
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("every user may write"),
        "{error}"
    );
    // Who is root can make a folder of somebody else, and has more to lose by using one.
    if std::os::unix::fs::chown(&store, Some(12_345), None).is_ok() {
        let error = Folder::open(&store, 1 << 30, Arc::new(|_| {}))
            .err()
            .unwrap();
        assert!(error.to_string().contains("another user"), "{error}");
    }
}
