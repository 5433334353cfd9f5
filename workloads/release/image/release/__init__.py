"""Steps of a release that need no GPU: what is to be done, starting jobs, copying engines, moving aliases."""
