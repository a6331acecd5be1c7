# `cmake --install`: the program, its Python scripts, and the library as find_package(bitfall) takes it.
include(CMakePackageConfigHelpers)
set(config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/bitfall)

# What a consumer links: bitfall::bitfall, all rooms whose interfaces are public.
add_library(bitfall_library INTERFACE)
set_target_properties(bitfall_library PROPERTIES EXPORT_NAME bitfall)
target_link_libraries(bitfall_library INTERFACE bitfall_calibration bitfall_images bitfall_archive)

# The link path leaves out what lies inside the build folder, where run.sh puts LibTorch.
set_target_properties(bitfall PROPERTIES INSTALL_RPATH ${BITFALL_TORCH_ROOT}/lib)
install(TARGETS bitfall)
install(PROGRAMS python/bitfall_export.py python/bitfall_import.py python/bitfall_report.py DESTINATION ${CMAKE_INSTALL_DATADIR}/bitfall/python)
install(FILES python/script.py DESTINATION ${CMAKE_INSTALL_DATADIR}/bitfall/python)
install(DIRECTORY python/bitfall python/report DESTINATION ${CMAKE_INSTALL_DATADIR}/bitfall/python PATTERN __pycache__ EXCLUDE)
install(DIRECTORY include/bitfall DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS bitfall_library bitfall_options bitfall_base bitfall_parallel bitfall_codes bitfall_quantization
                bitfall_model bitfall_calibration bitfall_files bitfall_images bitfall_archive
  EXPORT bitfallTargets)
install(EXPORT bitfallTargets NAMESPACE bitfall:: DESTINATION ${config_dir})
configure_package_config_file(src/cmake/bitfallConfig.cmake.in ${CMAKE_BINARY_DIR}/bitfallConfig.cmake
  INSTALL_DESTINATION ${config_dir})
# 0.x: any minor version may change the interface.
write_basic_package_version_file(${CMAKE_BINARY_DIR}/bitfallConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/bitfallConfig.cmake ${CMAKE_BINARY_DIR}/bitfallConfigVersion.cmake
              src/cmake/Dependencies.cmake src/cmake/LibTorch.cmake
  DESTINATION ${config_dir})

# Lmod finds the prefix by the file's own place: `module use PREFIX/share/bitfall/modulefiles`.
install(FILES src/packaging/modulefile/bitfall.lua DESTINATION ${CMAKE_INSTALL_DATADIR}/bitfall/modulefiles/bitfall
  RENAME ${PROJECT_VERSION}.lua)

# `cpack` in the build folder: one tarball that may be unpacked anywhere on machines that see the same LibTorch.
set(CPACK_GENERATOR TGZ)
set(CPACK_STRIP_FILES ON)
set(CPACK_VERBATIM_VARIABLES ON)
include(CPack)
