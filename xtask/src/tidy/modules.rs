//! Parses the files of a crate as modules and finds which items of which other files each one uses.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

use super::files::SourceFile;

/// The path of a module: the names of its parents and its own name. The root is empty.
pub(super) type ModulePath = Vec<String>;

/// The largest number of re-exports through which an import is followed.
const MAX_REEXPORTS: usize = 8;

/// A crate, file by file.
pub(super) struct Crate {
    /// The directory that its root module is in, with a `/` at the end.
    pub(super) root: String,
    modules: BTreeMap<ModulePath, Module>,
}

/// The contents of a file that matter for imports.
#[derive(Default)]
struct Module {
    /// The path of the file below the root directory.
    file: String,
    comments: String,
    /// Imported names and their paths.
    imports: Vec<Import>,
    /// Names of the items that it defines.
    items: BTreeSet<String>,
    /// The subset of items that are types or traits.
    types: BTreeSet<String>,
    /// Modules that exist in tests only.
    test_modules: BTreeSet<String>,
    /// Paths in its code.
    paths: BTreeSet<Vec<String>>,
    /// The functions of inherent `impl` blocks, by type.
    methods: BTreeMap<String, BTreeSet<String>>,
    /// Names of functions that traits declare or that are implemented for traits.
    trait_methods: BTreeSet<String>,
    /// Names of called methods.
    calls: BTreeSet<String>,
}

struct Import {
    /// `*` for all names of a module.
    name: String,
    path: Vec<String>,
    is_reexport: bool,
}

impl Crate {
    /// Parses the files below `root`, except files that exist in tests only.
    fn parse(root: &str, files: &[SourceFile]) -> Result<Self, String> {
        let mut modules = BTreeMap::new();
        let has_library = files.iter().any(|file| file.path == format!("{root}lib.rs"));
        for file in files {
            let Some(inside) = file.path.strip_prefix(root) else { continue };
            let Some(path) = module_path(inside).filter(|_| !(has_library && inside == "main.rs")) else { continue };
            let syntax = syn::parse_file(&file.text).map_err(|error| format!("{}: {error}", file.path))?;
            let mut module = Module { file: inside.to_owned(), comments: comments(&file.text), ..Module::default() };
            module.visit_file(&syntax);
            modules.insert(path, module);
        }
        let in_tests: Vec<ModulePath> = modules
            .iter()
            .flat_map(|(path, module)| {
                module.test_modules.iter().map(|name| [&path[..], std::slice::from_ref(name)].concat())
            })
            .collect();
        modules.retain(|path, _| !in_tests.iter().any(|test| path.starts_with(test)));
        Ok(Self { root: root.to_owned(), modules })
    }

    pub(super) fn file(&self, path: &ModulePath) -> &str {
        &self.modules[path].file
    }

    /// Returns the types and traits of each file, private ones included, with the path of the file.
    pub(super) fn types(&self) -> impl Iterator<Item = (&str, String)> {
        self.modules
            .values()
            .flat_map(|module| module.types.iter().map(|name| (name.as_str(), format!("{}{}", self.root, module.file))))
    }

    /// Parses all crates whose sources are among the files.
    pub(super) fn all(files: &[SourceFile]) -> Result<Vec<Self>, String> {
        let roots = files.iter().filter_map(|file| {
            let root = file.path.strip_suffix("src/lib.rs").or_else(|| file.path.strip_suffix("src/main.rs"))?;
            Some(format!("{root}src/"))
        });
        let roots: BTreeSet<String> = roots.collect();
        roots.iter().map(|root| Self::parse(root, files)).collect()
    }

    /// Returns whether a comment in one of two files says that they belong together.
    pub(super) fn belong_together(&self, one: &ModulePath, other: &ModulePath) -> bool {
        let says = |from: &ModulePath, to: &ModulePath| {
            let name = self.modules[to].file.rsplit('/').next().unwrap_or_default();
            self.modules[from].comments.contains(&format!("elongs together with `{name}`"))
        };
        says(one, other) || says(other, one)
    }

    /// Returns the other files that each file needs, with the name of an item that it uses.
    pub(super) fn needs(&self) -> BTreeMap<ModulePath, BTreeMap<ModulePath, String>> {
        let added = self.added_methods();
        let mut all = BTreeMap::new();
        for (at, module) in &self.modules {
            let mut needs = BTreeMap::new();
            let imported = module.imports.iter().filter(|import| !import.is_reexport).map(|import| &import.path);
            for path in imported.chain(&module.paths) {
                if let Some((to, name)) = self.resolve(at, path, MAX_REEXPORTS) {
                    needs.entry(to).or_insert(name);
                }
            }
            for (method, (owner, adder)) in &added {
                let knows_owner = needs.contains_key(owner) || at == owner;
                if knows_owner && module.calls.contains(*method) {
                    needs.entry(adder.clone()).or_insert_with(|| (*method).to_owned());
                }
            }
            needs.remove(at);
            all.insert(at.clone(), needs);
        }
        all
    }

    /// Returns the methods that a file adds to a type of another file: by name, the file of the type and the file of the method.
    /// Only names that are unique in the crate count, because a call does not show which of several methods of one name it means.
    fn added_methods(&self) -> BTreeMap<&str, (ModulePath, ModulePath)> {
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for module in self.modules.values() {
            for name in module.methods.values().flatten().chain(&module.trait_methods) {
                *times.entry(name).or_default() += 1;
            }
        }
        let mut added = BTreeMap::new();
        for (at, module) in &self.modules {
            for (owner, methods) in &module.methods {
                let Some((owner, _)) = self.resolve(at, std::slice::from_ref(owner), MAX_REEXPORTS) else { continue };
                if owner == *at {
                    continue;
                }
                for method in methods.iter().filter(|method| times[method.as_str()] == 1 && !is_common(method)) {
                    added.insert(method.as_str(), (owner.clone(), at.clone()));
                }
            }
        }
        added
    }

    /// Returns the file and the name of the item that a path in the file `at` refers to; `None` for items of other crates.
    fn resolve(&self, at: &ModulePath, path: &[String], depth: usize) -> Option<(ModulePath, String)> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.find(&[], rest, depth),
            "self" => self.find(at, rest, depth),
            "super" => self
                .find(at.split_last()?.1, rest, depth)
                .or_else(|| self.resolve(&at[..at.len() - 1].to_vec(), rest, depth)),
            _ => {
                let module = self.modules.get(at)?;
                let is_here = module.items.contains(first) || self.modules.contains_key(&child(at, first));
                let is_imported = module.imports.iter().any(|import| import.name == *first || import.name == "*");
                (is_here || is_imported).then(|| self.find(at, path, depth)).flatten()
            }
        }
    }

    /// Looks a path up from a module on.
    fn find(&self, from: &[String], path: &[String], depth: usize) -> Option<(ModulePath, String)> {
        let mut at = from.to_vec();
        let mut rest = path;
        while let Some((first, behind)) = rest.split_first() {
            let is_super = first == "super";
            let next = if is_super { at.split_last()?.1.to_vec() } else { child(&at, first) };
            if !self.modules.contains_key(&next) {
                break;
            }
            (at, rest) = (next, behind);
        }
        let module = self.modules.get(&at)?;
        let Some((name, behind)) = rest.split_first() else {
            return Some((at.clone(), at.last().cloned().unwrap_or_else(|| "the root".to_owned())));
        };
        if module.items.contains(name) || name == "*" {
            return Some((at, name.clone()));
        }
        if depth == 0 {
            return None;
        }
        if let Some(import) = module.imports.iter().find(|import| import.name == *name) {
            return self.resolve(&at, &[&import.path[..], behind].concat(), depth - 1);
        }
        let globs = module.imports.iter().filter(|import| import.name == "*");
        globs
            .filter_map(|glob| {
                let path = [&glob.path[..glob.path.len() - 1], rest].concat();
                self.resolve(&at, &path, depth - 1)
            })
            .next()
    }
}

fn child(path: &[String], name: &str) -> ModulePath {
    [path, &[name.to_owned()]].concat()
}

/// Returns the module path of a file below the root directory.
fn module_path(inside: &str) -> Option<ModulePath> {
    let path = inside.strip_suffix(".rs")?;
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if matches!(path, "lib" | "main") {
        return Some(Vec::new());
    }
    if path.starts_with("bin/") {
        return None;
    }
    Some(path.split('/').map(str::to_owned).collect())
}

fn comments(text: &str) -> String {
    text.lines().filter(|line| line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Returns whether types of the standard library have a method of this name, so that a call may mean theirs.
fn is_common(method: &str) -> bool {
    const COMMON: [&str; 20] = [
        "append", "bytes", "clear", "clone", "contains", "find", "flush", "get", "insert", "iter", "len", "lines",
        "new", "next", "path", "position", "push", "read", "remove", "write",
    ];
    COMMON.contains(&method)
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is_cfg = attribute.path().is_ident("cfg");
        attribute.path().is_ident("test")
            || is_cfg && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
    })
}

impl<'ast> Visit<'ast> for Module {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let (attributes, name): (&[syn::Attribute], Option<&syn::Ident>) = match item {
            syn::Item::Const(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Enum(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Fn(item) => (&item.attrs, Some(&item.sig.ident)),
            syn::Item::Impl(item) => (&item.attrs, None),
            syn::Item::Macro(item) => (&item.attrs, item.ident.as_ref()),
            syn::Item::Mod(item) => (&item.attrs, None),
            syn::Item::Static(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Struct(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Trait(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Type(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Union(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Use(item) => (&item.attrs, None),
            _ => (&[], None),
        };
        if is_test(attributes) {
            if let syn::Item::Mod(module) = item {
                self.test_modules.insert(module.ident.to_string());
            }
            return;
        }
        self.items.extend(name.map(ToString::to_string));
        let is_type = matches!(
            item,
            syn::Item::Enum(_) | syn::Item::Struct(_) | syn::Item::Trait(_) | syn::Item::Type(_) | syn::Item::Union(_)
        );
        self.types.extend(name.filter(|_| is_type).map(ToString::to_string));
        match item {
            syn::Item::Use(item) => {
                let is_reexport = !matches!(item.vis, syn::Visibility::Inherited);
                self.import(&mut Vec::new(), &item.tree, is_reexport);
            }
            syn::Item::Impl(item) => self.implementation(item),
            syn::Item::Trait(item) => {
                let functions = item.items.iter().filter_map(|item| match item {
                    syn::TraitItem::Fn(function) => Some(function.sig.ident.to_string()),
                    _ => None,
                });
                self.trait_methods.extend(functions);
            }
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_item_use(&mut self, _: &'ast syn::ItemUse) {}

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.paths.insert(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.calls.insert(call.method.to_string());
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }
}

impl Module {
    fn implementation(&mut self, item: &syn::ItemImpl) {
        let functions = item.items.iter().filter_map(|item| match item {
            syn::ImplItem::Fn(function) => Some(function.sig.ident.to_string()),
            _ => None,
        });
        if item.trait_.is_some() {
            self.trait_methods.extend(functions);
        } else if let syn::Type::Path(owner) = &*item.self_ty
            && let Some(owner) = owner.path.segments.last()
        {
            self.methods.entry(owner.ident.to_string()).or_default().extend(functions);
        }
    }

    fn import(&mut self, before: &mut Vec<String>, tree: &syn::UseTree, is_reexport: bool) {
        match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.import(before, &path.tree, is_reexport);
                before.pop();
            }
            syn::UseTree::Name(name) => self.push_import(before, &name.ident, &name.ident, is_reexport),
            syn::UseTree::Rename(rename) => self.push_import(before, &rename.ident, &rename.rename, is_reexport),
            syn::UseTree::Glob(_) => {
                let path = [&before[..], &["*".to_owned()]].concat();
                self.imports.push(Import { name: "*".to_owned(), path, is_reexport });
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(before, tree, is_reexport);
                }
            }
        }
    }

    fn push_import(&mut self, before: &[String], item: &syn::Ident, name: &syn::Ident, is_reexport: bool) {
        let (mut path, mut name) = (before.to_vec(), name.to_string());
        // `use a::{self}` imports `a`.
        if item == "self" {
            if name == "self" {
                name = before.last().cloned().unwrap_or_default();
            }
        } else {
            path.push(item.to_string());
        }
        self.imports.push(Import { name, path, is_reexport });
    }

    /// Collects paths and method calls from the arguments of a macro, which are tokens and not a syntax tree.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let (mut colons, mut is_behind_dot) = (0, false);
        for token in tokens {
            match token {
                TokenTree::Ident(word) => {
                    if is_behind_dot {
                        self.calls.insert(word.to_string());
                    } else {
                        if colons != 2 {
                            self.end_path(&mut path);
                        }
                        path.push(word.to_string());
                    }
                    (colons, is_behind_dot) = (0, false);
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
                TokenTree::Punct(mark) => {
                    self.end_path(&mut path);
                    (colons, is_behind_dot) = (0, mark.as_char() == '.');
                }
                TokenTree::Group(group) => {
                    self.end_path(&mut path);
                    (colons, is_behind_dot) = (0, false);
                    self.tokens(group.stream());
                }
                TokenTree::Literal(_) => {
                    self.end_path(&mut path);
                    (colons, is_behind_dot) = (0, false);
                }
            }
        }
        self.end_path(&mut path);
    }

    fn end_path(&mut self, path: &mut Vec<String>) {
        let path = std::mem::take(path);
        // `pub(crate)` names a module but needs nothing from it.
        let is_module = path.iter().all(|part| matches!(part.as_str(), "crate" | "self" | "super"));
        if !is_module {
            self.paths.insert(path);
        }
    }
}
