#!/usr/bin/env python3
"""One iteration of k-means beside faiss-cpu's and scikit-learn's: docs/performance.md.

usage: kmeans_peers.py [--iterations 25] [--repeats 3] [--shapes 262144,9,256 ...]
One thread each, processor time, the same data and the same first codebook, turn by turn. An iteration's time is the mean of the
iterations after the first; for ours also "first" (everything computed, nothing known yet) and "plain" (nothing left out). Ends with an error when
the objectives of the three differ by more than 1 %.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
import faiss  # noqa: E402
import numpy  # noqa: E402
import sklearn.cluster  # noqa: E402
import threadpoolctl  # noqa: E402

SHAPES = ["262144,9,256", "131072,18,256", "65536,4,256", "262144,8,256", "128000,4,2048", "512000,4,1024"]
BENCH = pathlib.Path(__file__).resolve().parents[2] / "build/release/tests/kmeans_bench"


def ours(files, shape, iterations, plain):
    n, d, k = shape
    done = subprocess.run([BENCH, "--data", files[0], "--start", files[1], "--n", str(n), "--d", str(d), "--k", str(k), "--iterations", str(iterations)]
                          + (["--plain"] if plain else []), check=True, text=True, capture_output=True)
    return json.loads(done.stdout)


def faiss_seconds(points, start, iterations):
    k, d = start.shape
    clustering = faiss.Clustering(d, k)
    clustering.niter = iterations
    clustering.max_points_per_centroid = 1 << 30
    faiss.copy_array_to_vector(start.ravel(), clustering.centroids)
    index = faiss.IndexFlatL2(d)
    begin = time.process_time()
    clustering.train(points, index)
    seconds = time.process_time() - begin
    return seconds, clustering.iteration_stats.at(clustering.iteration_stats.size() - 1).obj


def sklearn_seconds(points, start, iterations):
    model = sklearn.cluster.KMeans(len(start), init=start, n_init=1, max_iter=iterations, tol=0, algorithm="lloyd")
    with threadpoolctl.threadpool_limits(1):
        begin = time.process_time()
        model.fit(points)
        return time.process_time() - begin, model.inertia_


def slope(run, iterations):
    """Seconds of one iteration: what more iterations cost."""
    few, many = run(1)[0], run(iterations)
    return (many[0] - few) / (iterations - 1), many[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=25)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--shapes", nargs="*", default=SHAPES)
    options = parser.parse_args()
    faiss.omp_set_num_threads(1)
    print(f"faiss {faiss.__version__} ({faiss.get_compile_options().strip()}), scikit-learn {sklearn.__version__}; {options.iterations} iterations")
    print("| n, d, k | ours, ms | plain | first | faiss, ms | faiss / ours | faiss / plain | scikit-learn / ours | of FMA rate: ours, plain |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for text in options.shapes:
            n, d, k = shape = tuple(int(part) for part in text.split(","))
            random = numpy.random.default_rng(1)
            points = (0.05 * random.standard_t(6, (n, d))).astype(numpy.float32)
            start = points[random.choice(n, k, replace=False)].copy()
            files = [str(pathlib.Path(folder) / name) for name in ("points", "start")]
            points.tofile(files[0])
            start.tofile(files[1])
            times = {name: [] for name in ("ours", "plain", "first", "faiss", "sklearn", "peak")}
            objectives = {}
            for _ in range(options.repeats):
                fast = ours(files, shape, options.iterations, False)
                seconds, objectives["faiss"] = slope(lambda count: faiss_seconds(points, start, count), options.iterations)
                slow = ours(files, shape, max(3, options.iterations // 3), True)
                times["ours"].append(statistics.mean(fast["seconds"][1:]))
                times["first"].append(fast["seconds"][0])
                times["plain"].append(statistics.mean(slow["seconds"][1:]))
                times["faiss"].append(seconds)
                times["peak"].append(fast["peak"])
                objectives["ours"] = fast["objective"]
            few = 4
            seconds, inertia = slope(lambda count: sklearn_seconds(points, start, count), few)
            times["sklearn"].append(seconds)
            # Their labels belong to the centres before the last update or after it, depending on how it ended.
            bounds = [ours(files, shape, count, False)["objective"] for count in (few, few + 1)]
            middle = {name: statistics.median(values) for name, values in times.items()}
            rate = n * d * k / middle["peak"]
            print(f"| {n}, {d}, {k} | {1e3 * middle['ours']:.2f} | {1e3 * middle['plain']:.2f} | {1e3 * middle['first']:.2f} | {1e3 * middle['faiss']:.2f} "
                  f"| {middle['faiss'] / middle['ours']:.2f} | {middle['faiss'] / middle['plain']:.2f} | {middle['sklearn'] / middle['ours']:.1f} "
                  f"| {rate / middle['ours']:.2f}, {rate / middle['plain']:.2f} |", flush=True)
            if abs(objectives["ours"] / objectives["faiss"] - 1) > 0.01 or not 0.99 * bounds[1] <= inertia <= 1.01 * bounds[0]:
                print(f"kmeans_peers.py: objectives differ: {objectives}, scikit-learn {inertia}, ours {bounds}", file=sys.stderr)
                failed = True
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
