# fails with: time is up
while True:
    pass
