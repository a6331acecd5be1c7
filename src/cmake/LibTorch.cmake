# LibTorch from the PyPI wheel as hand-made imported targets; also installed, for bitfallConfig.cmake.
# find_package(Torch) is not used: it overrides CUDA architectures and languages, and takes far longer.
set(BITFALL_TORCH_ROOT "" CACHE PATH "site-packages/torch of the PyPI wheel, or an unpacked libtorch")
if(NOT EXISTS ${BITFALL_TORCH_ROOT}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "no LibTorch in BITFALL_TORCH_ROOT='${BITFALL_TORCH_ROOT}': run ./run.sh build, or "
                      "pip install --no-deps torch==2.11.0 and pass its folder")
endif()
foreach(name c10 torch_cpu)
  add_library(torch::${name} SHARED IMPORTED)
  set_target_properties(torch::${name} PROPERTIES IMPORTED_LOCATION ${BITFALL_TORCH_ROOT}/lib/lib${name}.so)
  target_include_directories(torch::${name} SYSTEM INTERFACE
    ${BITFALL_TORCH_ROOT}/include ${BITFALL_TORCH_ROOT}/include/torch/csrc/api/include)
endforeach()
# The headers alone (c10::Half), for rooms that need no tensor.
add_library(bitfall_torch_headers INTERFACE IMPORTED)
target_include_directories(bitfall_torch_headers SYSTEM INTERFACE ${BITFALL_TORCH_ROOT}/include)
add_library(bitfall_torch INTERFACE IMPORTED)
target_link_libraries(bitfall_torch INTERFACE torch::torch_cpu torch::c10)
# torch_cpu needs libcudart and libcupti of CUDA 13: the toolkit's or those of the wheels beside it.
target_link_options(bitfall_torch INTERFACE
  -Wl,-rpath-link,${BITFALL_TORCH_ROOT}/../nvidia/cu13/lib:/usr/local/cuda/lib64:/usr/local/cuda/extras/CUPTI/lib64)
