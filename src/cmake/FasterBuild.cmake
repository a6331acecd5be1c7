# ccache, when present, and one precompiled header of LibTorch.
option(BITFALL_PCH "precompile LibTorch's headers" ON)
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # A source that includes a precompiled header is cached only with these two: ccache's manual, "Precompiled headers".
  set(CMAKE_CXX_COMPILER_LAUNCHER
    ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
    ${CCACHE_PROGRAM})
endif()

# bitfall_precompile(TARGET HEADERS...): precompiles the headers for a target of which most sources include them.
# bitfall_precompile(TARGET REUSE_FROM OTHER): takes what was precompiled for another target of the same options; the
# include path and definitions that the headers don't look at may differ. GCC loads the 0.4 GB that LibTorch's headers
# become in a fraction of the time that parsing them takes.
function(bitfall_precompile target)
  if(NOT BITFALL_PCH OR NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    return()
  endif()
  if(ARGV1 STREQUAL "REUSE_FROM")
    target_precompile_headers(${target} REUSE_FROM ${ARGV2})
  else()
    target_precompile_headers(${target} PRIVATE ${ARGN})
  endif()
  # -fpch-preprocess lets ccache see which header was taken. From a precompiled <string>, GCC 12 warns of copies of
  # impossible lengths that are not there (GCC bug 105651, as in Warnings.cmake).
  target_compile_options(${target} PRIVATE -fpch-preprocess -Wno-stringop-overflow -Wno-array-bounds)
endfunction()

# bitfall_unite(TARGET): for a target whose sources have large headers in common (LibTorch, JSON, MPI): they are parsed once for a dozen sources.
option(BITFALL_UNITE "compile rooms in a few large units: a first build is faster, a change slower" OFF)
function(bitfall_unite target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${BITFALL_UNITE} UNITY_BUILD_BATCH_SIZE 12)
  if(BITFALL_UNITE)  # GCC takes the sources for headers and warns of their anonymous namespaces
    target_compile_options(${target} PRIVATE -Wno-subobject-linkage)
  endif()
endfunction()
