//! The two ways agree.

use proptest::prelude::*;

use super::*;

fn component() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "c", "a", "b", "c", "..", ".", ""])
}

fn target() -> impl Strategy<Value = String> {
    prop::collection::vec(component(), 1..6).prop_map(|components| components.join("/"))
}

#[derive(Debug, Clone)]
enum Node {
    File,
    Directory(Vec<(&'static str, Node)>),
    Link(String),
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![1 => Just(Node::File), 3 => target().prop_map(Node::Link)];
    leaf.prop_recursive(3, 20, 3, |inner| {
        let named = |name| inner.clone().prop_map(move |node| (name, node));
        (named("a"), named("b"), named("c")).prop_map(|(a, b, c)| Node::Directory(vec![a, b, c]))
    })
}

fn plant(path: &Path, node: &Node) {
    match node {
        Node::File => fs::write(path, "x").expect(SET),
        Node::Link(target) if target.is_empty() => symlink(".", path).expect(SET),
        Node::Link(target) => symlink(target, path).expect(SET),
        Node::Directory(nodes) => {
            fs::create_dir(path).expect(SET);
            nodes.iter().for_each(|(name, node)| plant(&path.join(name), node));
        }
    }
}

fn seen(root: &Root, path: &str) -> String {
    root.meta(path.as_bytes()).map_or_else(|error| error.to_string(), |seen| format!("{seen:?}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn the_walk_finds_what_the_kernel_finds(
        nodes in (node(), node(), node()),
        paths in prop::collection::vec(prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..6), 60),
    ) {
        let site = Site::new();
        for (name, node) in [("a", &nodes.0), ("b", &nodes.1), ("c", &nodes.2)] {
            plant(&site.path(name), node);
        }
        for path in paths.iter().map(|components| components.join("/")) {
            let [kernel, walk] = site.both(Links::Beneath).map(|root| seen(&root, &path));
            prop_assert_eq!(&kernel, &walk, "{}", path);
            let [refusing, walking] = site.both(Links::Refuse).map(|root| seen(&root, &path));
            prop_assert_eq!(&refusing, &walking, "{}", path);
            // An oracle that follows everything: what is found beneath the root is what it finds, and lies there.
            let followed = seen(&site.root(Links::Follow), &path);
            if kernel != "not found" {
                prop_assert_eq!(&kernel, &followed, "{}", path);
                let real = fs::canonicalize(site.path(&path)).unwrap();
                prop_assert!(real.starts_with(fs::canonicalize(site.path("")).unwrap()), "{}", path);
            }
        }
    }
}
