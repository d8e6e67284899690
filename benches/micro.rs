//! How long decoding, planning, signing and deciding take on this machine: `cargo bench --bench micro`.

mod cases;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn micro(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("micro");
    for case in cases::all() {
        group.throughput(match case.bytes {
            0 => Throughput::Elements(1),
            bytes => Throughput::Bytes(bytes as u64),
        });
        group.bench_function(&case.name, |bencher| bencher.iter(|| (case.run)()));
    }
    group.finish();
}

criterion_group!(benches, micro);
criterion_main!(benches);
