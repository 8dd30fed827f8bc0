# SPDX-License-Identifier: Apache-2.0
"""Share the tensors, parameters, geometry and head decoding of client, export and model code.

Export puts a copy of this package into every model. So it imports only numpy and the standard library, and does no I/O.
"""
