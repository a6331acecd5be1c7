-- Lmod, installed as PREFIX/share/bitfall/modulefiles/bitfall/VERSION.lua:
--   module use PREFIX/share/bitfall/modulefiles && module load bitfall
help([[bitfall: compresses trained convolutional networks on a cluster. `bitfall doctor` says what it finds.]])
whatis("Name: bitfall")
whatis("Version: " .. myModuleVersion())

-- Wherever the prefix was moved to. The modules that bitfall was built with go here: depends_on("openmpi", "hdf5")
local prefix = myFileName():gsub("/share/bitfall/modulefiles/.*$", "")
prepend_path("PATH", pathJoin(prefix, "bin"))
prepend_path("CMAKE_PREFIX_PATH", prefix)
prepend_path("PYTHONPATH", pathJoin(prefix, "share/bitfall/python"))
