# Slicer's own file names the package after extension, revision and platform; this is enough here.
include("${CMAKE_CURRENT_LIST_DIR}/Metadata.cmake")
set(CPACK_PACKAGE_NAME "${PROJECT_NAME}")
set(CPACK_PACKAGE_VERSION "0.0.0")
include(CPack)
