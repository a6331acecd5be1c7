from spack.package import *


class Bitfall(CMakePackage, CudaPackage):
    """Compresses trained convolutional networks on a cluster: codes and codebooks in one verified HDF5 archive."""

    # The source tree that holds this recipe: `spack dev-build bitfall@main`, or spack develop (docs/install.md).
    version("main")

    variant("cuda", default=False, description="k-means on GPUs, sums over NCCL")
    variant("tests", default=False, description="build the tests")
    variant("python", default=True, description="what report, import and export --format onnx start")

    depends_on("c", type="build")
    depends_on("cxx", type="build")
    depends_on("cmake@3.25:", type="build")
    depends_on("ninja", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("mpi@3:")
    depends_on("hdf5@1.10: +mpi +shared")
    depends_on("libarchive")
    depends_on("libjpeg-turbo +shared")
    depends_on("openssl")
    depends_on("zlib-api")
    depends_on("highway")
    depends_on("cli11@2:")
    depends_on("nlohmann-json@3.10:")
    depends_on("spdlog")
    depends_on("tomlplusplus")
    # LibTorch is the one inside py-torch; archives of other versions are read, equal bits are promised for this one.
    depends_on("py-torch@2.11 ~cuda", when="~cuda")
    depends_on("py-torch@2.11 +cuda", when="+cuda")
    depends_on("cuda@13:", when="+cuda")
    depends_on("nccl", when="+cuda")
    depends_on("catch2@2:", when="+tests", type="build")
    depends_on("boost +context", when="+tests", type="build")
    depends_on("python@3.10:", type=("build", "run"))
    depends_on("py-numpy", when="+python", type="run")
    depends_on("py-h5py", when="+python", type="run")
    depends_on("py-matplotlib", when="+python", type="run")

    conflicts("%gcc@:11", msg="bitfall is C++20")

    generator("ninja")

    def cmake_args(self):
        args = [
            self.define("BITFALL_TORCH_ROOT", join_path(self.spec["py-torch"].prefix, self.spec["python"].package.platlib, "torch")),
            self.define_from_variant("BITFALL_CUDA", "cuda"),
            self.define_from_variant("BITFALL_TESTS", "tests"),
        ]
        if self.spec.satisfies("+cuda") and "none" not in self.spec.variants["cuda_arch"].value:
            args.append(self.define("CMAKE_CUDA_ARCHITECTURES", ";".join(self.spec.variants["cuda_arch"].value)))
        return args

    def setup_run_environment(self, env):
        if self.spec.satisfies("+python"):
            env.set("BITFALL_PYTHON", self.spec["python"].command.path)
            env.prepend_path("PYTHONPATH", self.prefix.share.bitfall.python)
