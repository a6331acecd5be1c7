# Everything bitfall is built from, found once; also installed, for bitfallConfig.cmake.
# docs/development.md gives the reason for each.
find_package(Threads REQUIRED)
find_package(MPI REQUIRED COMPONENTS CXX)
find_package(OpenMP REQUIRED COMPONENTS CXX)
# The flag, not OpenMP::OpenMP_CXX: that target names GCC's libgomp.so by its path, and CMake then warns that LibTorch's
# libgomp.so.1 hides it at run time. It shall: both have one SONAME, and a process must have one OpenMP run-time.
add_library(bitfall_openmp INTERFACE IMPORTED)
target_compile_options(bitfall_openmp INTERFACE $<$<COMPILE_LANGUAGE:CXX>:${OpenMP_CXX_FLAGS}>)  # not for nvcc
target_link_options(bitfall_openmp INTERFACE ${OpenMP_CXX_FLAGS})
find_package(PkgConfig REQUIRED)
set(HDF5_PREFER_PARALLEL TRUE)
find_package(HDF5 REQUIRED COMPONENTS C)
if(NOT HDF5_IS_PARALLEL)
  message(FATAL_ERROR "bitfall needs HDF5 built with MPI (Debian: libhdf5-openmpi-dev)")
endif()
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(ZLIB REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(spdlog REQUIRED)
find_package(CLI11 REQUIRED)
find_package(tomlplusplus REQUIRED)
pkg_check_modules(HWY REQUIRED IMPORTED_TARGET libhwy)
pkg_check_modules(JPEG REQUIRED IMPORTED_TARGET libjpeg)
pkg_check_modules(TURBOJPEG REQUIRED IMPORTED_TARGET libturbojpeg)
pkg_check_modules(LIBARCHIVE REQUIRED IMPORTED_TARGET libarchive)
