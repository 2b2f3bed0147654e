//! The benchmarks of the workspace.

/// A benchmark: `cargo bench -p <package> --bench <name>`. Those of one area belong together.
pub(super) struct Benchmark {
    pub(super) area: &'static str,
    pub(super) name: &'static str,
    pub(super) package: &'static str,
    /// Whether it has small fixed workloads, which `--against` compares.
    pub(super) has_workloads: bool,
}

pub(super) const BENCHMARKS: &[Benchmark] = &[
    Benchmark { area: "append", name: "append", package: "selvedge-thread-manager", has_workloads: true },
    Benchmark { area: "context", name: "context", package: "selvedge-thread-store-local", has_workloads: true },
    Benchmark { area: "fork", name: "fork", package: "selvedge-thread-store-local", has_workloads: true },
    Benchmark { area: "sync", name: "sync", package: "selvedge-thread-store-local", has_workloads: true },
    Benchmark { area: "index", name: "index", package: "selvedge-state", has_workloads: true },
    Benchmark { area: "index", name: "index", package: "selvedge-cli", has_workloads: true },
    Benchmark { area: "postgres", name: "append", package: "selvedge-thread-store-postgres", has_workloads: false },
    Benchmark { area: "postgres", name: "read", package: "selvedge-thread-store-postgres", has_workloads: false },
    Benchmark { area: "postgres", name: "lists", package: "selvedge-thread-store-postgres", has_workloads: false },
    Benchmark { area: "viewer", name: "viewer", package: "selvedge-viewer", has_workloads: false },
];
