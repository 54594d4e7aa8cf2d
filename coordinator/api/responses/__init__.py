"""The shapes that the API answers with, a struct for each JSON object: the published contract, apart from what is inside.

Only msgspec and `reachability` may be imported here, so that the command line reads answers with the same structs at no cost.
A field has the name and the place of its key, but for `from`, `to` and `pass`. A key is left out only where its type says
`Unset`; a key that is null says in its struct what that means. What is added later gets a default.

`estate` is what stands of the cells, `status` how coordinator and agents are, `proof` why a cell has its result, with its
`packets`; `runs` a verify run, `report` what is handed over.
"""
